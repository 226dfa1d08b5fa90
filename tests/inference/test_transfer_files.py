"""Image files through a network: which files, their outputs and order, and what is reported of unreadable ones."""

import io
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from packaging.version import Version
from PIL import Image

from domtrans import DomtransError, Stopped, transfer
from domtrans.data.image_formats import ALPHA_FORMATS
from domtrans.inference.pipeline import map_ahead
from domtrans.inference.transfer_files import output_names
from image_folders import Mirror, animate, colour_of, names, opened, photo


def transferred(*args, **options):
    return transfer(Mirror(), *args, **options)


def frames_of(path):
    with Image.open(path) as image:
        return image.n_frames


def half_clear(path, **options):
    """Red, its left half transparent."""
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 255))
    image.paste((255, 0, 0, 0), (0, 0, 20, 40))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


ALPHA_ENDINGS = ["png", "apng", "webp", "gif", "tif", "avif", "jp2", "tga", "ico", "icns", "dds", "sgi", "im", "qoi"]


@pytest.mark.filterwarnings("ignore:IM image format")
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("ending", ALPHA_ENDINGS)
def test_the_output_has_the_alpha_of_the_input(tmp_path, ending, grey):
    if ending == "qoi" and Version(PIL.__version__) < Version("12"):
        pytest.skip("Pillow before 12 does not write QOI")
    half_clear(tmp_path / "a.png")
    size = 20 if ending != "icns" else 32
    if grey:
        run = Mirror()
        run.transfer = lambda images, engine: images[:, :1]
        transfer(run, tmp_path / "a.png", tmp_path / f"b.{ending}", size=size)
    else:
        transferred(tmp_path / "a.png", tmp_path / f"b.{ending}", size=size)
    alpha = np.asarray(opened(tmp_path / f"b.{ending}").convert("RGBA").resize((20, 20), Image.Resampling.NEAREST))[..., 3]
    assert (alpha[:, :9] == 0).all() and (alpha[:, 11:] == 255).all()


def test_all_formats_with_alpha_are_tested():
    assert {Image.registered_extensions()[f".{ending}"] for ending in ALPHA_ENDINGS} == set(ALPHA_FORMATS)


def test_transparency_of_a_palette_and_of_a_colour_is_kept(tmp_path):
    half_clear(tmp_path / "a.gif")
    image = Image.new("RGB", (40, 40), "red")
    image.paste((1, 2, 3), (0, 0, 20, 40))
    image.save(tmp_path / "b.png", transparency=(1, 2, 3))
    for name in ("a.gif", "b.png"):
        transferred(tmp_path / name, tmp_path / "out.png")
        alpha = np.asarray(opened(tmp_path / "out.png"))[..., 3]
        assert (alpha[:, :7] == 0).all() and (alpha[:, 9:] == 255).all()


def test_the_output_has_no_alpha_if_the_format_or_the_input_has_none(tmp_path):
    transferred(half_clear(tmp_path / "a.png"), tmp_path / "b.jpg")
    assert opened(tmp_path / "b.jpg").mode == "RGB" and min(opened(tmp_path / "b.jpg").getpixel((0, 0))) > 250, "over white"
    transferred(photo(tmp_path / "c.png"), tmp_path / "d.png")
    assert opened(tmp_path / "d.png").mode == "RGB"


def test_alpha_is_rotated_with_the_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: the left half of what is stored is the upper half of what was seen
    transferred(half_clear(tmp_path / "a.png", exif=exif), tmp_path / "b.png")
    alpha = np.asarray(opened(tmp_path / "b.png"))[..., 3]
    assert (alpha[:6] == 0).all() and (alpha[-6:] == 255).all()


def test_grey_beside_grey_stays_grey_and_beside_colour_becomes_colour(tmp_path):
    photo(tmp_path / "grey.png")
    Image.new("L", (30, 30), 100).save(tmp_path / "grey.png")

    class Grey(Mirror):
        def transfer(self, images, engine):
            return images[:, :1]

    for name, mode in (("grey.png", "L"), ("red.png", "RGB")):
        photo(tmp_path / "red.png")
        transfer(Grey(), tmp_path / name, tmp_path / "made.png", side_by_side=True)
        assert opened(tmp_path / "made.png").mode == mode


def test_size_and_side_by_side(tmp_path):
    fine = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(fine.astype(np.uint8)).save(tmp_path / "fine.png")
    transferred(tmp_path / "fine.png", tmp_path / "small.png", size=8)
    small = np.asarray(opened(tmp_path / "small.png"))
    assert small.shape == (8, 8, 3) and abs(small.astype(int) - 127).max() < 12, "averaged, not sampled"

    class Blue(Mirror):
        def transfer(self, images, engine):
            return torch.zeros_like(images) + torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1)

    transfer(Blue(), photo(tmp_path / "red.png", size=(60, 40)), tmp_path / "both.png", side_by_side=True, size=24)
    both = opened(tmp_path / "both.png")
    assert both.size == (48, 24) and both.getpixel((23, 5)) == (255, 0, 0) and both.getpixel((24, 5)) == (0, 0, 255)
    transfer(Blue(), half_clear(tmp_path / "clear.png"), tmp_path / "both.png", side_by_side=True)
    assert opened(tmp_path / "both.png").getpixel((3, 3))[3] == opened(tmp_path / "both.png").getpixel((19, 3))[3] == 0


@pytest.mark.parametrize(("format", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_the_format_of_a_folder(tmp_path, format, kind):
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "deep" / "b.gif")
    transferred(tmp_path / "in", tmp_path / "out", format=format)
    assert names(tmp_path / "out") == [f"a.{format}", f"deep/b.{format}"]
    assert opened(tmp_path / "out" / f"a.{format}").format == kind


def test_files_patterns_and_folders_together(tmp_path, monkeypatch):
    for name in ("x/1/a.png", "x/2/a.png", "x/2/b.jpg", "y/c.png", "y/notes.txt"):
        photo(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("not an image")
    deep = [tmp_path / "x" / "1" / "a.png", tmp_path / "x" / "2" / "a.png"]
    monkeypatch.chdir(tmp_path)
    for number, (sources, made) in enumerate(
        [
            (deep, ["1/a.png", "2/a.png"]),
            ([tmp_path / "x" / "*" / "a.png"], ["1/a.png", "2/a.png"]),
            (["x/**/*.jpg", "y"], ["x/2/b.png", "y/c.png"]),
            (["x", "x/1/a.png", Path("x", "2")], ["1/a.png", "2/a.png", "2/b.png"]),
            (["y/*"], ["c.png"]),
            (["x", "y"], ["x/1/a.png", "x/2/a.png", "x/2/b.png", "y/c.png"]),
        ]
    ):
        out = tmp_path / "out" / str(number)
        done = transferred(sources, out)
        assert names(out) == made and len(done.written) == len(made) and not done.failed, sources


def test_a_pattern_matches_files_beside_its_outputs_but_not_the_outputs(tmp_path, monkeypatch):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "deep" / "b.jpg")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert len(transferred("**/*.[jp][pn]g", "out", format="jpg").written) == 2
    assert names(tmp_path / "out") == ["a.jpg", "deep/b.jpg"]
    transferred("*.jpg", ".")
    assert (tmp_path / "a.png").is_file(), "beside its source"


def test_a_name_with_brackets_is_not_a_pattern_if_a_file_has_that_name(tmp_path):
    photo(tmp_path / "a[1].png")
    transferred(tmp_path / "a[1].png", tmp_path / "b.png")
    assert colour_of(tmp_path / "b.png") == (255, 0, 0)


@pytest.mark.parametrize(
    ("sources", "options", "sentence"),
    [
        (["no*.png"], {}, "no image or folder matches"),
        (["a.png", "missing.png"], {}, "there is no file or folder .*missing.png"),
        (["a.png"], {"size": 0}, "size=0 is out of range; it must be between 1 and 8192"),
        (["a.png"], {"workers": 0}, "workers=0 is out of range"),
        (["a.png"], {"batch_size": 0}, "batch_size=0 is out of range"),
        (["a.png"], {"format": "bmp"}, "format 'bmp' is not supported; choose png, jpg, webp"),
        (["a.png"], {"format": "jpg", "out": "b.png"}, "is not that of the format jpg"),
        (["a.png"], {"out": "b.psd"}, "suffix of an image format"),
        (["a.png"], {"out": "b.mp4"}, "is not animated and cannot become a video"),
        (["a.png"], {"sheet": "a.png", "out": "b.png"}, "would replace an image that is to be transferred"),
        (["a.png"], {"sheet": "b.png", "out": "b.png"}, "would replace one of the transferred images"),
        (["a.png"], {"sheet": "sheet", "out": "b.png"}, "suffix of an image format"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, sources, options, sentence):
    before = photo(tmp_path / "a.png").read_bytes()
    out = tmp_path / options.pop("out", "out")
    options = {name: tmp_path / value if name == "sheet" else value for name, value in options.items()}
    with pytest.raises(DomtransError, match=sentence):
        transferred([tmp_path / source for source in sources], out, **options)
    assert names(tmp_path) == ["a.png"] and (tmp_path / "a.png").read_bytes() == before


def test_open_files(tmp_path):
    made = io.BytesIO()
    content = io.BytesIO(photo(tmp_path / "a.png").read_bytes())
    transferred(content, made, format="webp")
    assert Image.open(made).format == "WEBP"
    transferred(io.BytesIO(content.getvalue()), tmp_path / "out.png")
    assert colour_of(tmp_path / "out.png") == (255, 0, 0)
    with pytest.raises(DomtransError, match="the input is not an image"):
        transferred(io.BytesIO(b"words"), made)
    with pytest.raises(DomtransError, match="take a single image"):
        transferred([tmp_path, content], made)


def mixed(folder, good=40):
    """Images, each with its own grey, some damaged files and an animation."""
    for number in range(good):
        photo(folder / f"{number:02d}.png", (number, number, number))
    for number in (3, 17, 33):
        (folder / f"{number:02d}.png").write_bytes(b"not an image")
    animate(folder / "05.gif")
    return folder


def test_order_and_pixels_do_not_depend_on_workers_and_batch_size(tmp_path):
    folder = mixed(tmp_path / "in")
    found = []
    for number, (workers, batch_size) in enumerate([(1, 256), (4, 7), (3, 1)]):
        out = tmp_path / str(number)
        done = transferred(folder, out, workers=workers, batch_size=batch_size)
        assert [path.name for path, _ in done.failed] == ["03.png", "17.png", "33.png"]
        assert [path.name for path in done.written] == sorted(path.name for path in done.written)
        found.append({path.relative_to(out): path.read_bytes() for path in done.written})
    assert found[0] == found[1] == found[2] and len(found[0]) == 38
    assert colour_of(tmp_path / "0" / "21.png") == (21, 21, 21) and frames_of(tmp_path / "0" / "05.gif.png") == 3


def test_existing_outputs_are_skipped(tmp_path):
    folder = mixed(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01.png").write_bytes(b"mine")
    done = transferred(folder, tmp_path / "out", skip_existing=True)
    assert done.skipped == (tmp_path / "out" / "01.png",) and (tmp_path / "out" / "01.png").read_bytes() == b"mine"
    assert len(done.written) == 37
    again = transferred(folder, tmp_path / "out", skip_existing=True)
    assert len(again.skipped) == 38 and not again.written and len(again.failed) == 3


def test_several_processes_share_the_work(tmp_path):
    folder = mixed(tmp_path / "in")
    parts = [transferred(folder, tmp_path / "out", part=(k, 3)) for k in range(3)]
    written = [path for done in parts for path in done.written]
    assert len(written) == len(set(written)) == 38 and sum(len(done.failed) for done in parts) == 3
    assert names(tmp_path / "out") == names(Path(transferred(folder, tmp_path / "alone").written[0]).parent)


def test_a_contact_sheet_shows_inputs_above_outputs(tmp_path):
    mixed(tmp_path / "in")
    for ending, kind in (("png", "PNG"), ("jpg", "JPEG")):
        transferred(tmp_path / "in", tmp_path / "out", sheet=tmp_path / f"sheet.{ending}")
        sheet = opened(tmp_path / f"sheet.{ending}")
        assert sheet.format == kind and sheet.width > 16 * 16 * 2 and sheet.height > 6 * 16 * 2
    transferred(photo(tmp_path / "one.png"), tmp_path / "made.png", sheet=tmp_path / "sheet.png")
    sheet = opened(tmp_path / "sheet.png")
    assert sheet.width < 50 < sheet.height and sheet.getpixel((16, 16)) == sheet.getpixel((16, 52)) == (255, 0, 0)


def test_the_sheet_of_a_large_folder_is_spread_over_it(tmp_path, monkeypatch):
    monkeypatch.setattr("domtrans.inference.contact_sheet.MAX_PAIRS", 3)
    for number in range(9):
        photo(tmp_path / "in" / f"{number}.png", (number * 30,) * 3)
    transferred(tmp_path / "in", tmp_path / "out", sheet=tmp_path / "sheet.png")
    sheet = opened(tmp_path / "sheet.png")
    assert [sheet.getpixel((10 + 36 * column, 10))[0] for column in range(3)] == [0, 120, 240]


@pytest.mark.parametrize("damaged", [False, True])
def test_pages_and_frames_that_are_not_transferred_are_counted(tmp_path, damaged):
    first, *rest = (Image.new("L", (8, 8), value) for value in (0, 100, 200))
    (tmp_path / "in").mkdir()
    first.save(tmp_path / "in" / "a.tif", save_all=True, append_images=rest)
    if damaged:
        content = bytearray((tmp_path / "in" / "a.tif").read_bytes())
        (directory,) = struct.unpack_from("<I", content, 4)
        (entries,) = struct.unpack_from("<H", content, directory)
        struct.pack_into("<I", content, directory + 2 + 12 * entries, len(content) - 1)  # where the second page is
        (tmp_path / "in" / "a.tif").write_bytes(content)
    animate(tmp_path / "in" / "b.gif")
    photo(tmp_path / "in" / "c.png")
    done = transferred(tmp_path / "in", tmp_path / "png")
    pages = () if damaged else ("only the first of 3 pages of 1 image was transferred",)
    assert len(done.written) == 3 and done.notes == pages
    done = transferred(tmp_path / "in", tmp_path / "jpg", format="jpg")
    assert done.notes == (*pages, "only the first of 3 frames of 1 image was transferred")


@pytest.mark.parametrize("source", ["gif", "png", "webp", "avif"])
@pytest.mark.parametrize("target", ["gif", "png", "webp", "avif"])
def test_every_frame_of_an_animation_is_transferred(tmp_path, source, target):
    lossless = {"lossless": True} if source == "webp" else {}
    animate(tmp_path / f"a.{source}", loop=2, **lossless)
    transferred(tmp_path / f"a.{source}", tmp_path / f"b.{target}", size=12)
    with Image.open(tmp_path / f"b.{target}") as made:
        assert made.n_frames == 3 and made.size == (12, 12)
        assert "avif" in (source, target) or made.info["loop"] == 2
        for number, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
            made.seek(number)
            made.load()
            assert made.info["duration"] == 200
            difference = np.subtract(made.convert("RGB").getpixel((6, 6)), colour)
            assert np.abs(difference).max() <= (6 if "avif" in (source, target) else 0)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("ending", ["gif", "png", "webp", "avif"])
def test_an_animation_keeps_its_transparency(tmp_path, ending, grey):
    frames = []
    for place in (0, 10):
        frame = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
        frame.paste((255, 0, 0, 255), (place, 0, place + 10, 20))
        frames.append(frame)
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=100)
    run = Mirror()
    # black, which libwebp's animations may confuse with clear
    run.transfer = lambda images, engine: 0 * images[:, : 1 if grey else 3]
    transfer(run, tmp_path / "a.png", tmp_path / f"b.{ending}")
    with Image.open(tmp_path / f"b.{ending}") as image:
        assert image.n_frames == 2
        for number, clear in enumerate([12, 3]):
            image.seek(number)
            alpha = np.asarray(image.convert("RGBA"))[8, :, 3]
            assert alpha[clear] == 0 and alpha[15 - clear] == 255, (ending, number)


def test_an_animation_becomes_a_jpg_of_its_first_frame(tmp_path):
    animate(tmp_path / "in" / "a.gif")
    transferred(tmp_path / "in", tmp_path / "out", format="jpg")
    red, green, blue = opened(tmp_path / "out" / "a.jpg").getpixel((5, 5))
    assert red > 240 and green < 15 and blue < 15


def test_a_truncated_animation_is_named_and_the_others_are_transferred(tmp_path):
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(4)]
    whole = animate(tmp_path / "in" / "b.gif")
    frames[0].save(whole, save_all=True, append_images=frames[1:])
    whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    animate(tmp_path / "in" / "a.gif")
    photo(tmp_path / "in" / "c.png")
    done = transferred(tmp_path / "in", tmp_path / "out")
    assert names(tmp_path / "out") == ["a.png", "c.png"] and [path.name for path, _ in done.failed] == ["b.gif"]


def test_an_animation_with_too_many_pixels_is_refused(tmp_path, monkeypatch):
    animate(tmp_path / "a.gif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with pytest.raises(DomtransError, match="too many frames for memory"):
        transferred(tmp_path / "a.gif", tmp_path / "b.gif")


def test_inputs_are_not_taken_far_ahead():
    handed = count()
    with ThreadPoolExecutor(4) as pool:
        for number, made in zip(range(50), map_ahead(pool, lambda item: item * 2, handed, 6), strict=False):
            assert made == 2 * number
        assert next(handed) <= 50 + 6


def test_a_stopped_transfer_leaves_whole_files_and_can_continue(tmp_path):
    folder, stop = mixed(tmp_path / "in"), threading.Event()

    class Stopping(Mirror):
        def transfer(self, images, engine):
            if self.batches:
                stop.set()
            return super().transfer(images)

    with pytest.raises(Stopped, match=r"of 41 files; every written file is complete"):
        transfer(Stopping(), folder, tmp_path / "out", batch_size=4, workers=1, stop=stop)
    there = names(tmp_path / "out")
    assert 0 < len(there) < 38 and all(name.endswith(".png") for name in there)
    done = transferred(folder, tmp_path / "out", skip_existing=True)
    assert len(done.skipped) == len(there) and len(names(tmp_path / "out")) == 38


def test_listeners_get_the_progress(tmp_path):
    reports = []
    transferred(mixed(tmp_path / "in"), tmp_path / "out", listeners=(reports.append,))
    assert reports[-1].phase == "transfer" and reports[-1].step == reports[-1].steps == 41
    assert reports[-1].values["images_per_second"] > 0


def test_an_error_of_the_network_is_not_reported_as_one_of_the_images(tmp_path):
    class Broken(Mirror):
        def transfer(self, images, engine):
            raise self.fault

    folder, threads = mixed(tmp_path / "in"), threading.active_count()
    for name, out in (("in", "out"), ("in/05.gif", "out.gif")):
        broken = Broken()
        broken.fault = ZeroDivisionError("a bug")
        with pytest.raises(ZeroDivisionError):
            transfer(broken, tmp_path / name, tmp_path / out)
    broken.fault = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(DomtransError, match="not enough memory for 64 images at a time; choose a smaller batch size"):
        transfer(broken, folder, tmp_path / "out")
    assert threading.active_count() <= threads


def test_output_names_do_not_clash_with_the_crops_of_others():
    def named(*given):
        return [str(path) for path in output_names([Path(name) for name in given], numbered=True)]

    assert named("a.jpg", "b-1.jpg") == ["a.png", "b-1.png"]
    assert named("a.jpg", "a-1.jpg", "in/a-2.jpg") == ["a.png", "a-1.jpg.png", "in/a-2.png"]
