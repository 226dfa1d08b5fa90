"""Outputs of the size of their inputs: resized, or in overlapping tiles that are blended; vectors are refused."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from domtrans import DomtransError, transfer
from domtrans.inference.tiles import Tiling
from image_folders import Mirror, animate, opened


class MapMirror(Mirror):
    """Mirrors every tile; says that its g reads maps."""

    generator, path = SimpleNamespace(reads_maps=True), "runs/mirror"


def picture(width, height, mode="RGB"):
    """Smooth random colours, with alpha in the modes that have it."""
    values = np.random.default_rng(0).integers(0, 256, (5, 6, len(mode)), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 30), (5, 7), (33, 64), (100, 17)])
def test_tiles_that_do_not_change_give_the_picture_back(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    sizes = []

    def network(tiles):
        sizes.append(len(tiles))
        assert all(tile.shape == (3, 16, 16) for tile in tiles)
        return tiles

    tiling = Tiling(16)
    assert np.array_equal(tiling.transfer(pixels, network, batch_size=4), pixels)
    assert sum(sizes) == tiling.count(width, height) and max(sizes) <= 4


def test_every_place_is_in_tiles_that_overlap_by_half_or_more():
    for length in range(1, 100):
        starts = Tiling(16).starts(length)
        assert starts[0] == 0 and starts[-1] == max(0, length - 16)
        assert all(0 < after - before <= 8 for before, after in pairwise(starts))


def test_where_tiles_overlap_the_nearer_one_counts_more():
    """Two tiles, of 0 and of 240, of a picture half a tile wider: a ramp between them, without an edge."""
    made = Tiling(16).transfer(
        np.zeros((3, 16, 24), np.uint8), lambda tiles: [np.full((1, 16, 16), 240 * k, np.uint8) for k in range(len(tiles))], 8
    )
    row = made[0, 8].astype(int)
    assert made.shape == (1, 16, 24) and (row[:8] == 0).all() and (row[16:] == 240).all()
    wanted = [240 * (k + 0.5) / 8 for k in range(8)]
    assert np.abs(row[8:16] - wanted).max() <= 1


def test_a_file_keeps_its_size_and_its_alpha(tmp_path):
    original = picture(70, 45, "RGBA")
    original.save(tmp_path / "a.png")
    done = transfer(MapMirror(), tmp_path / "a.png", tmp_path / "b.png", tiles=True, batch_size=3)
    made = opened(done.written[0])
    assert made.size == (70, 45) and made.mode == "RGBA"
    assert np.array_equal(np.asarray(made)[..., 3], np.asarray(original)[..., 3])


def test_a_picture_of_the_network_s_size_is_one_tile(tmp_path):
    size = MapMirror().recipe.image_size
    picture(size, size).save(tmp_path / "a.png")
    for name, tiles in (("whole", False), ("tiles", True)):
        transfer(MapMirror(), tmp_path / "a.png", tmp_path / f"{name}.png", tiles=tiles)
    assert np.array_equal(np.asarray(opened(tmp_path / "whole.png")), np.asarray(opened(tmp_path / "tiles.png")))


@pytest.mark.parametrize(("aspect", "size"), [("crop", (40, 40)), ("pad", (60, 40)), ("squeeze", (60, 40))])
def test_an_output_can_have_the_size_of_its_input(tmp_path, aspect, size):
    original = Image.new("RGBA", (60, 40), (255, 0, 0, 255))
    original.paste((0, 0, 255, 128), (30, 0, 60, 40))
    original.save(tmp_path / "a.png")
    transfer(MapMirror(), tmp_path / "a.png", tmp_path / "b.png", keep_size=True, aspect=aspect)
    made = opened(tmp_path / "b.png")
    assert made.size == size and made.mode == "RGBA"
    middle = size[0] // 2
    for x, alpha, channel in ((5, 255, 0), (middle - 6, 255, 0), (middle + 6, 128, 2), (size[0] - 5, 128, 2)):
        column = np.asarray(made)[3:-3, x].astype(int)
        assert (abs(column[:, 3] - alpha) <= 1).all() and (column[:, channel] > 200).all()
    transfer(MapMirror(), tmp_path / "a.png", tmp_path / "both.png", keep_size=True, aspect=aspect, side_by_side=True)
    assert opened(tmp_path / "both.png").size == (2 * size[0], size[1])
    with pytest.raises(DomtransError, match="keep_size and size exclude each other"):
        transfer(MapMirror(), tmp_path / "a.png", tmp_path / "b.png", keep_size=True, size=20)


def test_what_tiles_cannot_do_is_refused(tmp_path):
    picture(40, 30).save(tmp_path / "a.png")
    animate(tmp_path / "c.gif")
    vectors = MapMirror()
    vectors.generator = SimpleNamespace(reads_maps=False)
    with pytest.raises(DomtransError, match="describes a whole image by one vector"):
        transfer(vectors, tmp_path / "a.png", tmp_path / "b.png", tiles=True)
    for option in ({"size": 64}, {"side_by_side": True}, {"crop": "faces"}, {"aspect": "pad"}, {"sheet": "sheet.png"}):
        with pytest.raises(DomtransError, match=f"leave out {next(iter(option))} or tiles"):
            transfer(MapMirror(), tmp_path / "a.png", tmp_path / "b.png", tiles=True, **option)
    with pytest.raises(DomtransError, match="videos are not transferred in tiles"):
        transfer(MapMirror(), tmp_path / "c.gif", tmp_path / "b.mp4", tiles=True)
    (tmp_path / "broken.png").write_bytes(b"no image")
    done = transfer(MapMirror(), [tmp_path / "a.png", tmp_path / "broken.png"], tmp_path / "out", tiles=True)
    assert len(done.written) == len(done.failed) == 1
