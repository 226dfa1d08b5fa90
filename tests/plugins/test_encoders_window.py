"""Window: crop, size, range and channel order of a network's input."""

import pytest
import torch

from domtrans import DomtransError
from domtrans_encoders.window import Window


def ramps(size):
    """R grows with x, G with y, from -1 to 1 over the image; B is -1."""
    place = (torch.arange(size) + 0.5) / size * 2 - 1
    return torch.stack([place.expand(size, size), place[:, None].expand(size, size), -torch.ones(size, size)])[None]


@pytest.mark.parametrize("size", [20, 64, 150, 333])
@pytest.mark.parametrize(
    ("height", "width", "crop", "shift"), [(112, 112, 0.8, -0.09), (112, 96, 0.8, 0.05), (96, 96, 0.5, 0.02)]
)
def test_the_requested_part_is_cropped_from_images_of_any_size(size, height, width, crop, shift):
    seen = Window((height, width), crop=crop, shift=shift)(ramps(size))
    assert seen.shape == (1, 3, height, width)
    across, down = seen[0, 0, height // 2], seen[0, 1, :, width // 2]
    close = 2.1 / 112  # one pixel of the resized image
    assert abs(across.mean()) < close and abs(down.mean() - 2 * shift) < close
    assert across[-1] - across[0] == pytest.approx(2 * crop * (width - 1) / height, abs=2 * close)
    assert down[-1] - down[0] == pytest.approx(2 * crop * (height - 1) / height, abs=2 * close)


def test_range_and_channel_order():
    grey = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)  # R 0, G 127.5, B 255
    seen = Window((8, 8), mean=(1, 2, 3), scale=(10, 20, 40))(grey)
    torch.testing.assert_close(seen[0, :, 0, 0], torch.tensor([-0.1, 125.5 / 20, 252 / 40]))
    turned = Window((8, 8), mean=(1, 2, 3), scale=(10, 20, 40), bgr=True)(grey)
    assert torch.equal(turned, seen.flip(1))


def test_a_full_image_of_the_right_size_is_unchanged():
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(Window((16, 16))(images), images)


@pytest.mark.parametrize(("crop", "shift"), [(1.0, 0.1), (0.8, -0.2), (0.5, 0.3)])
def test_a_part_outside_the_image_is_refused(crop, shift):
    with pytest.raises(DomtransError, match=f"crop={crop} and shift={shift} reach beyond the image"):
        Window((32, 32), crop=crop, shift=shift)
