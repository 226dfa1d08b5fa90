"""Squares of images of any shape: PIL images, tensors and arrays agree, and square images are only resized."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from domtrans import DomtransError, ImageSet
from domtrans.data.aspect import square_image, square_tensor
from domtrans.data.pixels import from_pil

ASPECTS = ("crop", "pad", "squeeze")


def as_tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 70),
    st.sampled_from(ASPECTS),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_tensors_and_pil_images_agree_to_within_one_level(height, width, size, aspect, seed, hard):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = (pixels > 127).astype(np.uint8) * 255 if hard else pixels
    from_image = from_pil(Image.fromarray(pixels), size, aspect=aspect).int()
    assert (square_tensor(as_tensor(pixels), size, aspect)[0].int() - from_image).abs().max() <= 1
    floats = square_tensor(as_tensor(pixels).float() / 127.5 - 1, size, aspect)[0]
    assert ((floats + 1) * 127.5 - from_image).abs().max() <= 1.01
    from_array = ImageSet.from_arrays(pixels[None], size=size, aspect=aspect).images[0]
    assert torch.equal(from_array, square_tensor(as_tensor(pixels), size, aspect)[0])


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("shape", [(40, 40), (13, 13), (1, 1)])
def test_square_images_are_the_same_in_every_aspect(aspect, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert torch.equal(from_pil(Image.fromarray(pixels), 16, aspect=aspect), from_pil(Image.fromarray(pixels), 16))
    assert torch.equal(square_tensor(as_tensor(pixels), 16, aspect), square_tensor(as_tensor(pixels), 16))


@pytest.mark.parametrize("wide", [True, False])
def test_what_each_aspect_shows(wide):
    pixels = np.zeros((32, 64), np.uint8)
    pixels[:, :16], pixels[:, 48:] = 100, 200
    pixels = pixels if wide else pixels.T
    columns = {}
    for aspect in ASPECTS:
        square = np.asarray(square_image(Image.fromarray(pixels), 32, aspect))
        tensor = square_tensor(torch.from_numpy(pixels.copy())[None, None], 32, aspect)[0, 0].numpy()
        assert np.abs(square.astype(int) - tensor).max() <= 1
        line = square[16] if wide else square[:, 16]
        columns[aspect] = [int((line == level).sum()) for level in (100, 200)]
        if aspect == "pad":
            across = square[:, 2] if wide else square[2]
            assert (across == 100).all(), "the border pixels are repeated"
    assert columns["crop"] == [0, 0] and columns["pad"] == columns["squeeze"]
    assert all(7 <= count <= 8 for count in columns["squeeze"])


def test_a_panorama_is_padded_without_its_full_square():
    image = Image.new("RGB", (60_000, 2), "red")
    assert square_image(image, 16, "pad").getpixel((3, 3)) == (255, 0, 0)
    assert (square_tensor(torch.full((1, 1, 2, 60_000), 7, dtype=torch.uint8), 16, "pad") == 7).all()


def test_an_empty_image_is_refused():
    with pytest.raises(DomtransError, match="3 x 0 pixels is empty"):
        square_image(Image.new("L", (3, 0)), 8, "pad")


def test_gradients_flow_through_a_float_tensor():
    images = torch.rand(1, 3, 9, 20, requires_grad=True)
    square_tensor(images, 4, "crop").sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0
