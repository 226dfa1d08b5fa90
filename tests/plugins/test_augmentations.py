"""Augmentations: range, randomness, gradients, and the effect of each option."""

import pytest
import torch
import torch.nn.functional as F

from domtrans import use
from tiny import registry

STEPS = ["warp", {"name": "noise", "amount": 0.05}]
NEEDED = {"chain": {"steps": STEPS}, "adaptive": {"steps": STEPS, "initial": 1.0}}
STILL = {
    "warp": {"rotate": 0, "scale": 0, "shear": 0, "shift": 0, "elastic": 0},
    "flip": {"chance": 0},
    "stroke": {"chance": 0},
    "blur": {"chance": 0},
    "lines": {"chance": 0},
    "noise": {"amount": 0},
    "adaptive": {"initial": 0},
    "chain": {"steps": [{"name": "noise", "amount": 0}, {"name": "stroke", "chance": 0}]},
}
OF_A_LIBRARY = {"kornia"}
"""The library is optional: test_interop.py tests it. Its transforms differ in what they change."""
NAMES = sorted(set(registry().names("augmentation")) - OF_A_LIBRARY)
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


def augment(name, images, seed=0, **options):
    built = registry().build("augmentation", use(name, **(NEEDED.get(name, {}) | options)))
    return built(images, torch.Generator().manual_seed(seed))


def random_images(channels, n=6, size=16):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(3)) * 1.6 - 0.8


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_shape_and_range(name, channels):
    images = random_images(channels)
    found = augment(name, images)
    assert found.shape == images.shape and found.dtype == images.dtype
    assert torch.isfinite(found).all()
    assert found.abs().max() < 1.8  # noise may leave [-1, 1] a little


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_all_randomness_comes_from_the_generator(name, channels):
    images = random_images(channels)
    torch.manual_seed(0)
    first = augment(name, images, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first, augment(name, images, seed=1))
    assert not torch.equal(first, augment(name, images, seed=2))


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_drawn_independently(name, channels):
    same = random_images(channels, n=1).expand(8, -1, -1, -1)
    found = augment(name, same)
    assert len({image.numpy().tobytes() for image in found}) >= 2


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_the_images(name, channels):
    images = random_images(channels).requires_grad_()
    found = augment(name, images)
    found.square().sum().backward()
    assert torch.isfinite(images.grad).all()
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_flat_images_have_a_finite_gradient(name):
    images = torch.full((4, 3, 8, 8), -1.0, requires_grad=True)
    augment(name, images).sum().backward()
    assert torch.isfinite(images.grad).all()


@CHANNELS
@pytest.mark.parametrize("name", STILL)
def test_strength_0_changes_nothing(name, channels):
    images = random_images(channels)
    torch.testing.assert_close(augment(name, images, **STILL[name]), images, atol=1e-5, rtol=0)


def test_warp_shifts_by_half_image_sides():
    """The position of a bright column shows how far the image moved."""
    images = torch.zeros(64, 1, 32, 32)
    images[..., 16] = 1.0
    moved = augment("warp", images, rotate=0, scale=0, shear=0, shift=0.5)
    places = moved[:, 0, 16].argmax(1).float() - 16
    assert 4 < places.abs().max() <= 8  # 0.5 of half a side is 8 pixels


def test_paint_keeps_the_minimum_contrast():
    ink = torch.full((64, 1, 4, 4), -1.0)
    ink[..., 2:] = 1.0
    painted = augment("paint", ink, contrast=0.5)
    difference = painted[..., 3] - painted[..., 0]
    assert (difference.abs() >= 1.0 - 1e-5).all()
    assert (difference > 0).any() and (difference < 0).any()


def test_recolour_grey_removes_the_colour():
    """Only one tint over the whole image is left."""
    found = augment("recolour", random_images(3) * 0.1, grey=1.0)
    tint = found - found.mean(1, keepdim=True)
    assert tint.std((2, 3)).max() < 1e-4


def test_flip_mirrors_the_image():
    images = random_images(3)
    assert torch.equal(augment("flip", images, chance=1), images.flip(-1))


def test_stroke_grows_bright_or_dark_parts_by_one_pixel():
    images = torch.full((32, 1, 9, 9), -1.0)
    images[..., 4, 4] = 1.0
    found = augment("stroke", images, chance=1.0)
    assert (found[..., 4, 3] >= -1 - 1e-6).all() and found[..., 4, 3].max() > 0  # grown bright
    assert found[..., 4, 4].min() < 0  # or grown dark
    assert torch.equal(found[..., :3, :], images[..., :3, :])


def test_stroke_is_the_same_with_and_without_a_gradient():
    images = random_images(3)
    assert torch.equal(augment("stroke", images, chance=1.0), augment("stroke", images.clone().requires_grad_(), chance=1.0))


def test_blur_blends_with_the_mean_of_the_neighbours():
    images = random_images(3)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = (augment("blur", images, chance=1.0) - images) / (soft - images)
    weight = share.flatten(1).median(1).values[:, None, None, None]  # every image has one
    assert (weight >= 0).all() and (weight <= 1).all()
    torch.testing.assert_close(augment("blur", images, chance=1.0), images + weight * (soft - images), atol=1e-5, rtol=0)


def test_lines_are_thin_and_have_the_brightest_or_the_darkest_value():
    images = torch.zeros(100, 1, 32, 32)
    images[:, :, 0, :2] = torch.tensor([-1.0, 1.0])  # the darkest and the brightest value, in a corner without lines
    changes = (augment("lines", images, chance=1.0, length=0.5, width=0.1) - images).squeeze(1)
    for change in changes:
        points = change.nonzero().float()
        # The sides of a rectangle, from the deviations of points that are spread evenly over it.
        length, width = (12 / len(points)) ** 0.5 * torch.linalg.svdvals(points - points.mean(0))
        assert width < 3.2 + 1 and 16 / 4 < length < 16 + 3.2 + 1  # with round ends, and pixels at the edge
    strongest = changes.flatten(1).gather(1, changes.flatten(1).abs().argmax(1, keepdim=True))
    assert 30 < int((strongest > 0.9).sum()) < 70 and 30 < int((strongest < -0.9).sum()) < 70


def test_a_chain_runs_its_steps_in_order_with_one_generator():
    images, rng = random_images(3), torch.Generator().manual_seed(5)
    by_hand = images
    for step in (use("warp"), use("noise", amount=0.2)):
        by_hand = registry().build("augmentation", step)(by_hand, rng)
    found = augment("chain", images, seed=5, steps=["warp", {"name": "noise", "amount": 0.2}])
    assert torch.equal(found, by_hand)
