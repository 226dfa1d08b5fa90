"""Images that are neither grey nor RGB: read, trained on, shown and transferred with every channel."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from commands import in_process
from domtrans import DomtransError, ImageSet, load, pack, to_channels, train, transfer
from domtrans.data.grid import pair_grid, show_channels
from domtrans.registry.parts import Part
from image_folders import animate
from tiny import SMALL_FOLDERS, registry
from tiny_shards import encoded, write_tar


def bands(count, channels=5, side=32, dtype=np.uint16, seed=0):
    """Noise [count, channels, side, side] over the whole range of the type."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (count, channels, side, side), dtype, endpoint=True)


def stack(path, image):
    """A TIFF file with a page for each channel [channels, side, side]."""
    first, *rest = (Image.fromarray(page) for page in image)
    first.save(path, save_all=True, append_images=rest)


def domain(name, split="train", size=32, **options):
    return registry().build("domain", Part(name=name, options=options), split, size)


@pytest.mark.parametrize("last", [True, False])
def test_an_array_of_bands_is_scaled_by_its_type(tmp_path, last):
    values = bands(8)
    np.save(tmp_path / "bands.npy", np.moveaxis(values, 1, -1) if last else values)
    images = domain("arrays", path=str(tmp_path / "bands.npy"), channels=5, holdout=0.25, show_channels=[4, 2, 1])
    assert tuple(images.shape) == (6, 5, 32, 32) and images.shown == (3, 1, 0)
    assert np.array_equal(images.images.numpy(), np.rint(values[:6] * (255 / 65535)).astype(np.uint8))
    assert "pictures show channels 4, 2, 1 of 5" in images.notes


def test_without_channels_another_number_is_refused_with_the_way_out(tmp_path):
    np.save(tmp_path / "rgba.npy", bands(4, 4, dtype=np.uint8))
    with pytest.raises(DomtransError, match="composite an alpha channel first, or say how many channels there are: channels=N"):
        domain("arrays", path=str(tmp_path / "rgba.npy"))
    with pytest.raises(DomtransError, match=r"\[N, H, W, 5\] or \[N, 5, H, W\]"):
        domain("arrays", path=str(tmp_path / "rgba.npy"), channels=5)
    for shown in ([1, 2], [5], [1, 2, 9]):
        message = rf"show_channels must be 1 or 3 of the 4 channels, counted from 1, not \{shown}"
        with pytest.raises(DomtransError, match=message):
            domain("arrays", path=str(tmp_path / "rgba.npy"), channels=4, show_channels=shown)


def test_inspect_shows_bands(tmp_path, capsys):
    np.save(tmp_path / "bands.npy", np.moveaxis(bands(8, side=24), 1, -1))
    sheet = tmp_path / "sheet.png"
    code, out, _ = in_process(capsys, "inspect", tmp_path / "bands.npy", "channels=5", "show_channels=[2]", "--sheet", sheet)
    assert code == 0 and "all 24 x 24 pixels" in out and "8 5 channels" in out and "pictures show channel 2 of 5" in out
    assert sheet.is_file()


def test_a_folder_of_tiff_stacks_has_a_channel_on_each_page(tmp_path):
    values = bands(4, 5)
    for number, image in enumerate(values):
        stack(tmp_path / f"{number}.tif", image)
    images = domain("folder", path=str(tmp_path), channels=5, holdout=0.0)
    assert np.array_equal(images.images.numpy(), np.rint(values.astype(np.float32) * np.float32(255 / 65535)).astype(np.uint8))
    with pytest.raises(DomtransError, match=r"0\.tif has 5 pages, but channels=4 expects 4\. If no option is wrong"):
        domain("folder", path=str(tmp_path), channels=4, holdout=0.0)


def test_inspect_reads_channels_as_training_does(tmp_path, capsys):
    for number, image in enumerate(np.moveaxis(bands(6, 4, dtype=np.uint8), 1, -1)):
        Image.fromarray(image, "RGBA").save(tmp_path / f"{number}.png")
    code, out, _ = in_process(capsys, "inspect", tmp_path, "channels=5", "--json")
    found = json.loads(out)["domains"]["source"]
    assert code == 0 and found["damaged"]["count"] == 6 and found["kinds"] == {}
    assert found["damaged"]["files"][0] == {"file": "0.png", "reason": "it has 4 channels, but channels=5 expects 5"}
    found = json.loads(in_process(capsys, "inspect", tmp_path, "channels=4", "--json")[1])["domains"]["source"]
    assert found["damaged"]["count"] == 0 and found["kinds"] == {"4 channels": 6}


@pytest.mark.parametrize("where", ["folder", "webdataset"])
def test_pages_that_are_not_read_are_counted(tmp_path, where):
    place = tmp_path / "images"
    place.mkdir()
    for number, image in enumerate(bands(6, 5)):
        stack(place / f"{number}.tif", image)
    stack(place / "6.tif", bands(1, 1)[0])
    for number, ending in enumerate(("gif", "webp", "avif"), start=9):
        animate(place / f"{number}.{ending}")
    animate(place / "12.apng", format="PNG")
    (place / "8.tif").write_bytes((place / "0.tif").read_bytes()[:300])
    if where == "webdataset":
        place = write_tar(tmp_path / "a.tar", {file.name: file.read_bytes() for file in sorted(place.iterdir())})
    notes = domain(where, path=str(place), memory="no", holdout=0.2).notes
    assert "only the first of 5 pages of 6 images is read; channels=5 reads all" in notes
    assert "only the first of 3 frames of 4 images is read" in notes
    assert not any("only the first" in note for note in domain(where, path=str(place), memory="no", channels=5).notes)


def test_pages_of_many_images_are_counted_in_a_sample(tmp_path):
    for number in range(257):
        stack(tmp_path / f"{number}.tif", np.zeros((2 + number % 2, 2, 2), np.uint8))
    notes = domain("folder", path=str(tmp_path), memory="no").notes
    assert "only the first of 2 to 3 pages of 256 images is read (in a sample of 256 of 257 images)" in notes


def test_shards_hold_images_of_any_number_of_channels(tmp_path):
    pixels = np.moveaxis(bands(4, 4, dtype=np.uint8), 1, -1)
    write_tar(tmp_path / "a.tar", {f"{number}.png": encoded(image) for number, image in enumerate(pixels)})
    shards = {"path": str(tmp_path / "a.tar"), "holdout": 0.0}
    images = domain("webdataset", **shards, channels=4, show_channels=[4])
    assert np.array_equal(images.images.numpy(), np.moveaxis(pixels, -1, 1))
    assert images.shown == (3,) and "pictures show channel 4 of 4" in images.notes
    with pytest.raises(DomtransError, match="grey=true reads one channel, so leave out channels, or grey"):
        domain("webdataset", **shards, channels=4, grey=True)


def test_the_four_channels_of_rgba_are_kept_as_they_are(tmp_path):
    pixels = np.moveaxis(bands(2, 4, dtype=np.uint8), 1, -1)
    for number, image in enumerate(pixels):
        Image.fromarray(image, "RGBA").save(tmp_path / f"{number}.png")
    images = domain("folder", path=str(tmp_path), channels=4, holdout=0.0)
    assert np.array_equal(images.images.numpy(), np.moveaxis(pixels, -1, 1))


def test_pictures_show_the_chosen_channels():
    images = torch.from_numpy(bands(2, 5, dtype=np.uint8))
    assert torch.equal(show_channels(images), images[:, :3]) and torch.equal(show_channels(images, (4,)), images[:, 4:])
    assert torch.equal(show_channels(images[:, :2]), images[:, :1])
    grid = np.asarray(pair_grid(images, images, scale=1, target_shown=(4, 3, 2)))
    assert np.array_equal(grid[2:34, 2:34], images[0, :3].permute(1, 2, 0).numpy())
    assert np.array_equal(grid[36:68, 2:34], images[0, [4, 3, 2]].permute(1, 2, 0).numpy())


def test_channels_become_others_only_where_that_has_a_meaning():
    images = torch.rand(2, 5, 4, 4)
    assert torch.allclose(to_channels(images, 1), images.mean(1, keepdim=True))
    assert to_channels(images[:, :1], 5).shape[1] == 5
    with pytest.raises(DomtransError, match="images have 5 channels, where 3 are needed"):
        to_channels(images, 3)


def test_a_set_changes_its_channels():
    labels, rgb = torch.tensor([0, 1]), torch.from_numpy(bands(2, 3, dtype=np.uint8))
    images = ImageSet(rgb, labels, ("a", "b"), "two", shown=(2,))
    grey = images.in_channels(1)
    assert grey.channels == 1 and grey.classes == images.classes and grey.shown == () and torch.equal(grey.labels, labels)
    assert torch.equal(grey.images, to_channels(rgb.float(), 1).round().to(torch.uint8))
    assert torch.equal(grey.in_channels(5).images, grey.images.expand(-1, 5, -1, -1))
    assert images.in_channels(3) is images
    with pytest.raises(DomtransError, match="images have 3 channels, where 5 are needed"):
        images.in_channels(5)


def test_a_transfer_of_five_channels_is_trained_and_used(tmp_path):
    for seed, name in enumerate(("source", "target")):
        np.save(tmp_path / f"{name}.npy", bands(8, seed=seed))
    changes = {
        f"{name}.{option}": value
        for name in ("source", "target")
        for option, value in {"path": str(tmp_path / f"{name}.npy"), "channels": 5, "show_channels": [5]}.items()
    }
    small = SMALL_FOLDERS | {"source": "arrays", "target": "arrays", "image_size": 32}
    run = train("folders-dtn", tmp_path / "run", overrides=small | changes, device="cpu", registry=registry())
    assert run.recipe.encoder.options["channels"] == 5 and "5-channel images" in run.recipe.choices[0]
    assert (tmp_path / "run" / "report.html").is_file()
    loaded = load(tmp_path / "run", device="cpu", registry=registry())
    grid = np.asarray(Image.open(pack(loaded, tmp_path / "packed").folder / "samples.png").convert("RGB"))
    assert np.ptp(grid, axis=-1).max() == 0 < np.ptp(grid), "one channel, as grey"
    values = bands(3, dtype=np.uint16)
    assert loaded.transfer(values).shape == (3, 5, 32, 32)
    assert loaded.transfer(np.moveaxis(values, 1, -1)).shape == (3, 32, 32, 5)
    np.save(tmp_path / "more.npy", values)
    transfer(loaded, tmp_path / "more.npy", tmp_path / "out.npy", batch_size=2)
    assert np.allclose(np.load(tmp_path / "out.npy"), loaded.transfer(values), atol=1)  # of 65,535
    for output, options, message in (
        ("out.npy", {}, "exists"),
        ("o.png", {}, "ends in .npy"),
        ("o.npy", {"size": 9}, "size is"),
    ):
        with pytest.raises(DomtransError, match=message):
            transfer(loaded, tmp_path / "more.npy", tmp_path / output, **options)
    with pytest.raises(DomtransError, match=r"\[B, 1 or 5, H, W\]"):
        loaded.transfer(torch.rand(2, 3, 32, 32))


def test_a_set_names_the_channels_that_it_shows():
    pixels = torch.zeros(2, 4, 8, 8, dtype=torch.uint8)
    assert ImageSet(pixels, shown=(3,)).unlabelled().take(torch.tensor([0])).some(1).shown == (3,)
    with pytest.raises(DomtransError, match=r"shown must be 1 or 3 of the 4 channels, counted from 0, not \[4\]"):
        ImageSet(pixels, shown=(4,))
