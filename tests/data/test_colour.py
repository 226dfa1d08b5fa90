"""Colours mean what the file says: ICC profiles and PNG chunks are converted to sRGB, and nothing else changes."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from domtrans import decode_image
from domtrans.data.colour import SRGB_CHROMATICITIES, rgb_profile
from domtrans.data.decode_worker import decode_batch
from domtrans.data.image_files import read_image
from domtrans.data.pixels import standardize

WHITE = SRGB_CHROMATICITIES[:2]
DISPLAY_P3 = rgb_profile([*WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060])
ADOBE_RGB = rgb_profile([*WHITE, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06], 563 / 256)
LINEAR = rgb_profile(SRGB_CHROMATICITIES, 1.0)
EXACT = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
EXACT["avif"] = {"quality": 100, "subsampling": "4:4:4"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def chunk(name, *numbers):
    info = PngInfo()
    info.add(name, struct.pack(f">{len(numbers)}I", *(round(number * 100_000) for number in numbers)))
    return info


def lut_profile(space, channels, result):
    """An ICC profile whose table maps every corner of the cube of its channels to Lab values: ``result(corner)``."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * channels, indexing="ij"), -1).reshape(-1, channels)
    table = struct.pack(">4s4xBBBx9i2H", b"mft2", channels, 3, 2, *np.eye(3, dtype=int).ravel() * 65536, 2, 2)
    table += struct.pack(">2H", 0, 65535) * channels
    for corner in corners:
        lightness, a, b = result(corner)
        table += struct.pack(">3H", round(lightness * 652.8), round((a + 128) * 256), round((b + 128) * 256))
    table += struct.pack(">2H", 0, 65535) * 3
    tag = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i", 144 + len(table), 0x02400000, b"prtr", space, b"Lab ", b"acsp", 63190, 65536, 54061
    )
    return header.ljust(128, b"\0") + tag + table


CMYK = lut_profile(b"CMYK", 4, lambda ink: (100 * (1 - ink[3]) * (1 - 0.5 * ink[:3].mean()), 60 * ink[1] * (1 - ink[3]), 0))


@pytest.mark.parametrize(
    ("profile", "stored", "shown"),
    [
        (DISPLAY_P3, (234, 51, 35), (255, 0, 0)),
        (DISPLAY_P3, (128, 128, 128), (128, 128, 128)),
        (ADOBE_RGB, (144, 255, 60), (0, 255, 0)),
        (ADOBE_RGB, (219, 0, 0), (255, 0, 0)),
        (LINEAR, (55, 55, 55), (128, 128, 128)),
        (SRGB, (12, 200, 99), (12, 200, 99)),
        (b"no profile", (12, 200, 99), (12, 200, 99)),
        (DISPLAY_P3[:200], (12, 200, 99), (12, 200, 99)),
        (CMYK, (12, 200, 99), (12, 200, 99)),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg", "avif"])
def test_icc_profiles_are_converted_to_srgb(tmp_path, profile, stored, shown, ending):
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (8, 8), stored).save(path, icc_profile=profile, **EXACT.get(ending, {}))
    pixel = np.array(read_image(path).getpixel((4, 4)))
    assert np.abs(pixel - shown).max() <= (8 if ending == "avif" else 4)
    decoded, errors = decode_batch([(str(path), 0, path.stat().st_size)], 4, 3)
    assert not errors and np.array_equal(decoded[0, :, 2, 2], pixel)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16", "1"])
def test_a_profile_counts_in_every_mode(tmp_path, mode):
    grey = np.full((8, 8), 55, np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert(mode.removesuffix("A") if mode == "P" else mode)
    image.save(tmp_path / "a.png", icc_profile=LINEAR)
    expected = 128 if mode != "1" else read_image(tmp_path / "a.png").getpixel((4, 4))
    assert np.abs(np.asarray(read_image(tmp_path / "a.png").convert("L"))[4, 4].astype(int) - expected).max() <= 1


def test_alpha_does_not_change_with_the_profile(tmp_path):
    Image.new("RGBA", (4, 4), (55, 55, 55, 77)).save(tmp_path / "a.png", icc_profile=LINEAR)
    Image.new("LA", (4, 4), (55, 77)).save(tmp_path / "b.png", icc_profile=LINEAR)
    for name, expected in (("a.png", (128, 128, 128, 77)), ("b.png", (128, 77))):
        with Image.open(tmp_path / name) as image:
            found = standardize(image)
        assert np.abs(np.subtract(found.getpixel((1, 1)), expected)).max() <= 1
        assert not found.info, "a second reader would convert again"


def test_cmyk_with_a_profile(tmp_path):
    inks = Image.new("CMYK", (8, 8), (0, 255, 0, 0))
    plain, profiled = tmp_path / "plain.tif", tmp_path / "profiled.tif"
    inks.save(plain)
    inks.save(profiled, icc_profile=CMYK)
    assert read_image(plain).getpixel((4, 4)) == (255, 0, 255), "no profile: the complement of the inks"
    red, green, blue = read_image(profiled).getpixel((4, 4))
    assert red > green + 50 and 0 < green < 200 and 0 < blue < 255
    inks.save(tmp_path / "adobe.jpg", icc_profile=CMYK, quality=100)
    assert np.abs(np.subtract(read_image(tmp_path / "adobe.jpg").getpixel((4, 4)), (red, green, blue))).max() <= 4


@pytest.mark.parametrize(
    ("info", "stored", "shown"),
    [
        (chunk(b"gAMA", 1.0), (55, 55, 55), (128, 128, 128)),
        (chunk(b"gAMA", 0.45455), (55, 99, 200), (55, 99, 200)),
        (chunk(b"gAMA", 1 / 1.8), (128, 128, 128), (147, 147, 147)),
        (chunk(b"cHRM", *WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060), (234, 51, 35), (255, 0, 0)),
        (chunk(b"cHRM", *SRGB_CHROMATICITIES), (55, 99, 200), (55, 99, 200)),
        (chunk(b"cHRM", *[0.0] * 8), (55, 99, 200), (55, 99, 200)),
        (chunk(b"gAMA", 0.0), (55, 99, 200), (55, 99, 200)),
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_gamma_and_primaries_of_a_png(tmp_path, info, stored, shown, grey):
    Image.new("RGB", (4, 4), stored).save(tmp_path / "a.png", pnginfo=info)
    assert np.abs(np.subtract(read_image(tmp_path / "a.png").getpixel((1, 1)), shown)).max() <= 2
    if grey and stored[0] == stored[1]:
        Image.new("L", (4, 4), stored[0]).save(tmp_path / "a.png", pnginfo=info)
        assert abs(read_image(tmp_path / "a.png").getpixel((1, 1)) - shown[0]) <= 2


def test_an_srgb_chunk_or_a_profile_counts_before_gamma(tmp_path):
    info = chunk(b"gAMA", 1.0)
    info.add(b"sRGB", b"\0")
    Image.new("RGB", (4, 4), (55, 55, 55)).save(tmp_path / "a.png", pnginfo=info)
    assert read_image(tmp_path / "a.png").getpixel((1, 1)) == (55, 55, 55)
    Image.new("RGB", (4, 4), (55, 55, 55)).save(tmp_path / "a.png", pnginfo=chunk(b"gAMA", 1.0), icc_profile=SRGB)
    assert read_image(tmp_path / "a.png").getpixel((1, 1)) == (55, 55, 55)


def test_damaged_profiles_are_ignored_or_read(tmp_path):
    rng = np.random.default_rng(0)
    for whole in (DISPLAY_P3, CMYK):
        for number in range(60):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 1 + number % 8):
                damaged[place] = rng.integers(256)
            Image.new("RGB", (4, 4), (12, 200, 99)).save(tmp_path / "a.png", icc_profile=bytes(damaged))
            assert read_image(tmp_path / "a.png").mode == "RGB"


def test_threads_may_convert_at_the_same_time():
    colours = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    files = []
    for pixels in colours:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", icc_profile=DISPLAY_P3)
        files.append(buffer)
    alone = [np.asarray(read_image_of(file)) for file in files]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(read_image_of, files * 8))
    assert all(np.array_equal(image, alone[number % 8]) for number, image in enumerate(together))


def read_image_of(file):
    return decode_image(io.BytesIO(file.getvalue()), "an image")
