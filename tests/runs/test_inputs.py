"""What a run takes: tensors, arrays, PIL images, paths and lists, with values in any clear range."""

import numpy as np
import pytest
import torch
from PIL import Image

from domtrans import DomtransError, load, train
from domtrans.data.value_range import detect_range_of_few
from domtrans.runs.inputs import InputReader
from tiny import bars, registry, tiny_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    path = train(tiny_recipe(root, train__steps=2), root / "run", device="cpu", registry=registry()).path
    return load(path, device="cpu", registry=registry())


ARRAYS = bars(5)[0]
PIXELS = torch.from_numpy(ARRAYS).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("black_and_white", [(-1, 1), (0, 1), (0, 255)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_floats_of_each_range_give_what_bytes_give(run, black_and_white, dtype):
    black, white = black_and_white
    floats = (PIXELS.double() / 255 * (white - black) + black).to(dtype)
    made = run.transfer(floats)
    assert made.dtype == torch.float32 and made.min() >= black - 1e-3 and made.max() <= white + 1e-3
    as_bytes = (made - black) / (white - black) * 255
    assert (as_bytes - run.transfer(PIXELS).float()).abs().max() <= 1.5
    features = run.encode(PIXELS)
    assert (run.encode(floats) - features).abs().max() < 0.05 * features.abs().max()
    assert torch.equal(run(floats[0]), made[0]) or (run(floats[0]) - made[0]).abs().max() < 1e-3 * white


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-1.0, 1.0], (-1, 1)),
        ([-0.4, 0.3], (-1, 1)),
        ([0.0, 1.0], (0, 1)),
        ([0.0, 0.0], (0, 1)),
        ([51 / 255, 201 / 255], (-1, 1)),
        ([52 / 255, 201 / 255], (0, 1)),
        ([0.0, 255.0], (0, 255)),
        ([3.5, 40.25], (0, 255)),
    ],
)
def test_detected_ranges(values, expected):
    assert detect_range_of_few(torch.tensor(values)) == expected


def test_every_8_bit_image_is_recognised_in_both_ranges():
    levels = torch.arange(256, dtype=torch.float32)
    assert detect_range_of_few(levels / 255) == (0, 1) and detect_range_of_few(levels / 127.5 - 1) == (-1, 1)
    bright = levels[128:]
    assert detect_range_of_few(bright / 255) == (0, 1) and detect_range_of_few(bright / 127.5 - 1) == (-1, 1)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([0.123, 0.987], r"from 0.123 to 0.987, which can mean 0 to 1 or -1 to 1; say which: value_range=\(0, 1\) or"),
        ([0.0, 7.5], "not clearly 0 to 1, -1 to 1 or 0 to 255"),
        ([-2.1, 2.6], "not clearly 0 to 1, -1 to 1 or 0 to 255"),
        ([0.0, 65535.0], "from 0 to 6.554e\\+04, which are not clearly"),
        ([0.0, float("nan")], "not finite"),
    ],
)
def test_a_range_that_is_not_clear_is_refused_in_one_sentence(run, values, sentence):
    images = torch.tensor(values).repeat(1, 3, 4, 2)
    for call in (run.transfer, run.encode):
        with pytest.raises(DomtransError, match=sentence):
            call(images)


def test_a_stated_range_is_taken(run):
    images = torch.rand(2, 3, 32, 32)
    made = run.transfer(images, value_range=(0, 1))
    assert made.min() >= 0 and made.max() <= 1
    torch.testing.assert_close(made * 2 - 1, run.transfer(images * 2 - 1, value_range=(-1, 1)), atol=1e-5, rtol=0)
    torch.testing.assert_close(run.transfer(images * 10, value_range=(0, 10)), made * 10, atol=1e-4, rtol=0)
    integers = run.transfer((images * 1000).long(), value_range=(0, 1000))
    assert (integers / 1000 - made).abs().max() < 0.1
    with pytest.raises(DomtransError, match=r"value_range must be the values of black and white"):
        run.transfer(images, value_range=(1, 0))


@pytest.mark.parametrize(
    ("images", "stated"),
    [
        (ARRAYS, (0, 1)),
        (PIXELS, (0, 1)),
        (ARRAYS.astype(np.uint16), (0, 100)),
        (ARRAYS.astype(np.float64), (0, 1)),
        ([ARRAYS[0]], (-1, 1)),
        (np.full((1, 32, 32, 3), np.nan), (0, 1)),
    ],
)
def test_values_outside_a_stated_range_are_refused(run, images, stated):
    for call in (run.transfer, run.encode):
        with pytest.raises(DomtransError, match=r"has values from .* outside the stated range from"):
            call(images, value_range=stated)


def test_an_aspect_that_does_not_exist_is_refused(run):
    for call in (run.transfer, run.encode):
        with pytest.raises(DomtransError, match="the aspect 'typo' is not supported; choose crop, pad, squeeze"):
            call(ARRAYS, aspect="typo")


def test_a_damaged_or_closed_pil_image_is_refused_in_a_sentence(run, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    closed = Image.open(tmp_path / "a.jpg")
    closed.close()
    with Image.open(tmp_path / "cut.jpg") as cut:
        for image in (cut, closed):
            with pytest.raises(DomtransError, match="the image cannot be read: "):
                run.transfer(image)


def test_16_bit_integers_are_scaled_by_their_range(run):
    made = run.transfer(ARRAYS.astype(np.uint16) * 257)
    assert made.dtype == np.float32 and made.max() <= 65535
    assert np.abs(made / 257 - run.transfer(ARRAYS)).max() <= 1


def test_arrays_keep_their_axes(run):
    expected = run.transfer(PIXELS).numpy()
    assert np.array_equal(run.transfer(ARRAYS), expected.transpose(0, 2, 3, 1))
    assert np.array_equal(run.transfer(PIXELS.numpy()), expected)
    single = run.transfer(ARRAYS[0])
    assert single.shape == (32, 32, 1) and single.dtype == np.uint8
    assert np.abs(single[..., 0].astype(int) - expected[0, 0]).max() <= 1
    grey = ARRAYS[..., 0]
    assert run.transfer(grey).shape == (5, 32, 32) and run.transfer(grey[0]).shape == (32, 32)
    (made,) = run.transfer([PIXELS[0].numpy()])
    assert made.shape == (1, 32, 32) and np.abs(made.astype(int) - expected[0]).max() <= 1
    assert np.array_equal(run.transfer(ARRAYS[:, ::-1])[0], run.transfer(np.ascontiguousarray(ARRAYS[:, ::-1]))[0])


def test_three_axes_are_read_in_one_way_or_refused(run):
    grey = ARRAYS[..., 0]
    for count in (1, 2, 4, 5):
        assert run.transfer(grey[:count]).shape == (count, 32, 32)
    with pytest.raises(
        DomtransError, match=r"\[3, 32, 32\] is one image of 3 channels or 3 grey images; give \[1, 3, 32, 32\] or"
    ):
        run.transfer(grey[:3])
    assert run.transfer(grey[None, :3]).shape == (1, 1, 32, 32) and run.transfer(grey[:3, ..., None]).shape == (3, 32, 32, 1)
    reader = InputReader(32, torch.device("cpu"), channels=5)
    assert reader.read(grey[:3]).squares.shape == (3, 1, 32, 32) and reader.read([grey]).squares.shape == (1, 5, 32, 32)
    with pytest.raises(DomtransError, match="5 channels or 5 grey images"):
        reader.read(grey)


def test_other_arrays_are_refused(run):
    for array in (np.zeros((2, 5, 5, 4), np.uint8), np.zeros(9, np.uint8), np.array([["a"]]), np.zeros((0, 8, 8, 3))):
        with pytest.raises(DomtransError, match="images"):
            run.transfer(array)


def test_paths_and_lists_of_anything(run, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(ARRAYS[0]).save(path)
    image, grey = Image.open(path), ARRAYS[0, ..., 0]
    expected = run.transfer(image)
    assert np.array_equal(run.transfer(path), expected) and np.array_equal(run.transfer(str(path)), expected)
    made = run.transfer([path, str(path), image, ARRAYS[0], grey, PIXELS[0], PIXELS[0] / 255])
    assert [type(item).__name__ for item in made] == ["Image"] * 3 + ["ndarray"] * 2 + ["Tensor"] * 2
    assert all(np.abs(np.asarray(item, float) - np.asarray(expected)).max() <= 1 for item in made[:3])
    assert made[3].shape == (32, 32, 1) and made[4].shape == (32, 32) and made[5].shape == made[6].shape == (1, 32, 32)
    assert made[5].dtype == torch.uint8 and made[6].max() <= 1
    assert run.encode([path, image]).shape == (2, 128) and run.transfer([]) == [] and len(run.encode([])) == 0


def test_the_home_folder_may_be_written_short(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(ARRAYS[0]).save(tmp_path / "a.png")
    assert run.transfer("~/a.png").size == (32, 32)


@pytest.mark.parametrize("images", [None, 7, {"a": 1}, ["missing.png"], [7], [ARRAYS]])
def test_anything_else_is_refused_in_a_sentence(run, images):
    with pytest.raises(DomtransError):
        run.transfer(images)


@pytest.mark.parametrize("size", [(64, 32), (33, 50), (7, 90), (32, 32), (13, 13), (250, 250)])
@pytest.mark.parametrize("aspect", ["crop", "pad", "squeeze"])
def test_a_tensor_and_a_file_of_one_image_are_the_same_input(tmp_path, size, aspect):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    reader = InputReader(32, torch.device("cpu"), aspect)
    from_file = reader.read(tmp_path / "a.png").squares
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    for images in (tensor, tensor.float() / 255, tensor / 127.5 - 1, pixels, pixels / 255, pixels.astype(np.uint16) * 257):
        assert (reader.read(images).squares - from_file).abs().max() <= 1.01 / 127.5


def test_the_aspect_of_the_source_is_the_default(run):
    wide = Image.fromarray(np.repeat(ARRAYS[0], 2, axis=1))
    options = run.recipe.source.options
    padded = run.transfer(wide, aspect="pad")
    changed = run.recipe.source.model_copy(update={"options": options | {"aspect": "pad"}})
    before = run.recipe
    run.recipe = before.model_copy(update={"source": changed})
    try:
        assert run.aspect == "pad" and np.array_equal(run.transfer(wide), padded)
    finally:
        run.recipe = before
    assert run.aspect == "crop" and not np.array_equal(run.transfer(wide), padded)
