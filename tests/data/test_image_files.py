"""Image files of every mode, damaged files, and finding images in folders."""

import contextlib
import io
import re
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from domtrans import DomtransError, decode_picture, find_images, find_pictures, read_images, read_pictures
from domtrans.data.image_files import read_image, to_pil
from domtrans.data.pixels import flatten, from_pil

COLOUR = (200, 40, 90)
FORMATS = {"png": {}, "jpg": {}, "gif": {}, "bmp": {}, "webp": {"lossless": True}, "tif": {}, "ppm": {}, "avif": {}, "jp2": {}}


def sample(mode, size=(12, 8)):
    """An image of a mode, not uniform."""
    image = Image.new("RGB", size, COLOUR)
    image.paste((10, 250, 30), (0, 0, 5, 4))
    if mode == "I":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(image.convert("L")) / np.float32(255))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16", "F"])
def test_every_mode_becomes_pixels(mode, channels):
    image = Image.new("LAB", (12, 8), (100, 120, 120)) if mode == "LAB" else sample(mode)
    found = from_pil(image, 6, channels)
    assert found.shape == (channels, 6, 6) and found.dtype == torch.uint8 and found.is_contiguous()
    assert mode == "LAB" or found.float().std() > 5


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX"])
def test_colours_stay(mode):
    assert flatten(sample(mode)).getpixel((8, 6)) == COLOUR


def test_transparency_is_composited_over_white():
    image = Image.new("RGBA", (4, 4), (*COLOUR, 0))
    image.putpixel((0, 0), (*COLOUR, 255))
    flat = flatten(image)
    assert flat.getpixel((0, 0)) == COLOUR and flat.getpixel((2, 2)) == (255, 255, 255)
    assert flatten(Image.new("LA", (2, 2), (0, 0))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_a_palette_with_transparency(tmp_path, transparency):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([*COLOUR, 0, 0, 0])
    image.putpixel((2, 2), 1)
    image.save(tmp_path / "p.png", transparency=transparency)
    found = read_image(tmp_path / "p.png")
    assert found.getpixel((0, 0)) == COLOUR and found.getpixel((2, 2)) == (255, 255, 255)


def test_a_palette_without_transparency(tmp_path):
    sample("P").save(tmp_path / "p.gif")
    assert read_image(tmp_path / "p.gif").mode == "RGB"


def test_sixteen_bits_are_scaled_by_the_full_range(tmp_path):
    values = np.array([[0, 257], [32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(read_image(tmp_path / "deep.png")).tolist() == [[0, 1], [128, 255]]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.uint16, [0, 257, 65535], [0, 1, 255]),
        (np.int32, [-5, 2**30, 2**31 - 1], [0, 128, 255]),
        (np.float32, [0, 0.5, 1], [0, 128, 255]),
        (np.float32, [0.25, 0.25, 0.25], [64, 64, 64]),
        (np.float32, [-0.01, 0.2, 1.02], [0, 51, 255]),
    ],
)
def test_wide_grey_is_scaled_by_the_range_of_its_type(tmp_path, dtype, values, expected):
    Image.fromarray(np.array([values], dtype)).save(tmp_path / "wide.tif")
    assert np.asarray(read_image(tmp_path / "wide.tif")).tolist() == [expected]


def tiff(bits, sample_format, photometric, content):
    """An uncompressed little-endian TIFF file of one row."""
    width = len(content) * 8 // bits
    tags = [(256, 4, width), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, 1), (279, 4, len(content)), (339, 3, sample_format)]
    padded = content + bytes(len(content) % 2)
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(padded)) + padded + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("bits", "sample_format", "photometric", "values", "expected"),
    [
        (16, 1, 1, np.array([0, 0x8000, 0xFFFF], "<u2"), [0, 128, 255]),
        (16, 1, 0, np.array([0, 0x8000, 0xFFFF], "<u2"), [255, 127, 0]),
        (16, 2, 1, np.array([-9, 0x4000, 0x7FFF], "<i2"), [0, 128, 255]),
        (32, 1, 1, np.array([0, 2**31, 2**32 - 1], "<u4"), [0, 128, 255]),
        (32, 2, 1, np.array([-9, 2**30, 2**31 - 1], "<i4"), [0, 128, 255]),
        (32, 3, 0, np.array([0, 0.2, 1], "<f4"), [255, 204, 0]),
        (12, 1, 1, np.array([0xFF, 0xFF, 0xFF, 0x00, 0x08, 0x00], "u1"), [255, 255, 0, 128]),
    ],
)
def test_the_bit_depth_and_meaning_of_a_tiff_file_count(tmp_path, bits, sample_format, photometric, values, expected):
    (tmp_path / "a.tif").write_bytes(tiff(bits, sample_format, photometric, values.tobytes()))
    assert np.abs(np.asarray(read_image(tmp_path / "a.tif")).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("values", [[0, 255], [-1, 1], [0, 65535]])
def test_floats_of_another_range_are_refused(tmp_path, values):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    low, high = (re.escape(f"{value:.4g}") for value in values)
    with pytest.raises(DomtransError, match=f"a.tif cannot be read: its float values are from {low} to {high}, but"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("maximum", [255, 4095, 65535])
def test_a_pgm_file_is_scaled_by_its_largest_value(tmp_path, maximum):
    values = np.array([0, maximum // 2, maximum], ">u2" if maximum > 255 else "u1")
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 %d\n" % maximum + values.tobytes())
    assert np.abs(np.asarray(read_image(tmp_path / "a.pgm")).astype(int) - [[0, 127, 255]]).max() <= 1


def test_a_transparent_value_of_16_bit_grey_is_white(tmp_path):
    Image.fromarray(np.array([[0, 500, 40_000]], np.uint16)).save(tmp_path / "a.png", transparency=500)
    assert np.asarray(read_image(tmp_path / "a.png").convert("L")).tolist() == [[0, 255, 156]]


def test_nan_pixels_are_black():
    values = np.array([[np.nan, 0.0], [np.inf, 1.0]], dtype=np.float32)
    found = np.asarray(flatten(Image.fromarray(values)))
    assert found[0].tolist() == [0, 0] and found[1, 1] == 255


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, orientation, ending):
    upright = sample("RGB", (12, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how a camera in that orientation stores it
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"turned.{ending}", exif=exif, **FORMATS[ending])
    assert np.array_equal(np.asarray(read_image(tmp_path / f"turned.{ending}")), np.asarray(upright))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_an_image_with_damaged_exif_data_is_read(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112], exif[0x8769] = 6, {0x9000: b"0230"}
    whole, rng = exif.tobytes(), np.random.default_rng(2)
    for number in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(6, len(whole), 4):
            damaged[place] = rng.integers(256)
        sample("RGB", (12, 8)).save(tmp_path / f"a.{ending}", exif=bytes(damaged[: 8 + number] if number % 3 == 0 else damaged))
        assert sorted(read_image(tmp_path / f"a.{ending}").size) == [8, 12]


def test_images_are_cropped_to_the_centre_square():
    image = Image.new("L", (30, 10), 0)
    image.paste(255, (10, 0, 20, 10))
    assert (from_pil(image, 10, 1) == 255).all() and from_pil(image, 5, 1).min() > 200


def test_an_image_without_pixels_is_refused():
    with pytest.raises(DomtransError, match="0 x 5 pixels"):
        from_pil(Image.new("RGB", (0, 5)), 8)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_truncated_image_is_refused_or_read(tmp_path, ending):
    path = tmp_path / f"cut.{ending}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **FORMATS[ending])
    whole = path.read_bytes()
    assert read_image(path).size == (40, 40)
    refused = 0
    for length in [*range(0, 60, 3), *range(60, len(whole), max(1, len(whole) // 40))]:
        path.write_bytes(whole[:length])
        try:
            assert read_image(path).mode in ("L", "RGB")
        except DomtransError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("ending", FORMATS)
def test_an_image_with_flipped_bytes_is_refused_or_read(tmp_path, ending):
    path = tmp_path / f"flipped.{ending}"
    sample("RGB").save(path, **FORMATS[ending])
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        with contextlib.suppress(DomtransError):
            read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not an image"), (b"words, no picture", "not an image"), (b"\x89PNG\r\n\x1a\n", "image|read")],
)
def test_a_file_that_is_not_an_image_is_refused(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DomtransError, match=message):
        read_image(tmp_path / "a.png")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DomtransError, match="there is no file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DomtransError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("pixels", [90, 40])
def test_an_image_with_too_many_pixels_is_refused(tmp_path, monkeypatch, pixels):
    sample("RGB").save(tmp_path / "bomb.png")  # 96 pixels: a warning above the limit, an error above twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    with pytest.raises(DomtransError, match=f"has 96 pixels, more than the limit of {pixels}; .*DOMTRANS_MAX_PIXELS"):
        read_image(tmp_path / "bomb.png")


def test_find_images_descends_and_skips_hidden_files(tmp_path):
    for name in (
        "b.png",
        "a.JPG",
        "deep/down/c.webp",
        ".hidden.png",
        ".cache/d.png",
        "notes.txt",
        "no-ending",
        "deep/.x/e.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)] == ["a.JPG", "b.png", "deep/down/c.webp"]


def test_find_images_works_below_a_hidden_folder(tmp_path):
    folder = tmp_path / ".local" / "pictures"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"")
    assert len(find_images(folder)) == 1


def test_the_old_names_still_work(tmp_path):
    sample("RGB").save(tmp_path / "a.png")
    sample("RGB").save(tmp_path / "b.bmp")
    assert find_pictures(tmp_path, endings={".bmp"}) == [tmp_path / "b.bmp"]
    assert torch.equal(read_pictures([tmp_path / "a.png"], 8), read_images([tmp_path / "a.png"], 8))
    assert decode_picture(tmp_path / "a.png", "a").size == (12, 8)


def test_read_images_names_the_first_that_is_damaged(tmp_path):
    sample("RGB").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"")
    good = [tmp_path / "good.png"] * 2
    assert read_images(good, 16).shape == (2, 3, 16, 16) and read_images(good, 16, 1).shape == (2, 1, 16, 16)
    with pytest.raises(DomtransError, match=r"bad\.png"):
        read_images([*good, tmp_path / "bad.png"], 16)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_survive_a_round_trip_through_a_file(tmp_path, channels):
    pixels = torch.randint(0, 256, (2, channels, 16, 16), dtype=torch.uint8)
    for index, image in enumerate(to_pil(pixels)):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        (tmp_path / f"{index}.png").write_bytes(buffer.getvalue())
    assert torch.equal(read_images(find_images(tmp_path), 16, channels), pixels)
