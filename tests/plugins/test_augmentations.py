"""Every augmentation: shape, range, randomness, and a gradient that runs through it."""

import pytest
import torch

from domtrans import use
from tiny import registry

NEEDED = {"chain": {"steps": ["warp", {"name": "noise", "amount": 0.05}]}}
STILL = {
    "warp": {"rotate": 0, "scale": 0, "shear": 0, "shift": 0, "elastic": 0},
    "flip": {"chance": 0},
    "stroke": {"chance": 0},
    "blur": {"chance": 0},
    "noise": {"amount": 0},
    "chain": {"steps": [{"name": "noise", "amount": 0}, {"name": "stroke", "chance": 0}]},
}
NAMES = registry().names("augmentation")
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


def augment(name, images, seed=0, **options):
    built = registry().build("augmentation", use(name, **(NEEDED.get(name, {}) | options)))
    return built(images, torch.Generator().manual_seed(seed))


def pictures(channels, n=6, size=16):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(3)) * 1.6 - 0.8


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_form_and_range(name, channels):
    images = pictures(channels)
    found = augment(name, images)
    assert found.shape == images.shape and found.dtype == images.dtype
    assert torch.isfinite(found).all()
    assert found.abs().max() < 1.8  # noise may leave [-1, 1] a little


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_all_randomness_comes_from_the_generator(name, channels):
    images = pictures(channels)
    torch.manual_seed(0)
    first = augment(name, images, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first, augment(name, images, seed=1))
    assert not torch.equal(first, augment(name, images, seed=2))


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_every_image_has_a_draw_of_its_own(name, channels):
    same = pictures(channels, n=1).expand(8, -1, -1, -1)
    found = augment(name, same)
    assert len({image.numpy().tobytes() for image in found}) >= 2


@CHANNELS
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_the_images(name, channels):
    images = pictures(channels).requires_grad_()
    found = augment(name, images)
    found.square().sum().backward()
    assert torch.isfinite(images.grad).all()
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_given_images_are_left_alone(name):
    images = pictures(3)
    before = images.clone()
    augment(name, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_flat_images_have_a_finite_gradient_too(name):
    images = torch.full((4, 3, 8, 8), -1.0, requires_grad=True)
    augment(name, images).sum().backward()
    assert torch.isfinite(images.grad).all()


@CHANNELS
@pytest.mark.parametrize("name", STILL)
def test_without_strength_nothing_changes(name, channels):
    images = pictures(channels)
    torch.testing.assert_close(augment(name, images, **STILL[name]), images, atol=1e-5, rtol=0)


def test_warp_shifts_by_half_image_sides():
    """A bright left border, continued from outside, tells how far the picture moved."""
    images = torch.zeros(64, 1, 32, 32)
    images[..., 16] = 1.0
    moved = augment("warp", images, rotate=0, scale=0, shear=0, shift=0.5)
    places = moved[:, 0, 16].argmax(1).float() - 16
    assert 4 < places.abs().max() <= 8  # 0.5 of half a side is 8 pixels


def test_paint_keeps_the_contrast_it_promises():
    ink = torch.full((64, 1, 4, 4), -1.0)
    ink[..., 2:] = 1.0
    painted = augment("paint", ink, contrast=0.5)
    difference = painted[..., 3] - painted[..., 0]
    assert (difference.abs() >= 1.0 - 1e-5).all()
    assert (difference > 0).any() and (difference < 0).any()


def test_recolour_grey_takes_the_colour_away():
    """What is left of colour is one tint over the whole image."""
    found = augment("recolour", pictures(3) * 0.1, grey=1.0)
    tint = found - found.mean(1, keepdim=True)
    assert tint.std((2, 3)).max() < 1e-4


def test_flip_exchanges_left_and_right():
    images = pictures(3)
    assert torch.equal(augment("flip", images, chance=1), images.flip(-1))


def test_stroke_grows_bright_or_dark_parts_by_a_pixel():
    images = torch.full((32, 1, 9, 9), -1.0)
    images[..., 4, 4] = 1.0
    found = augment("stroke", images, chance=1.0)
    assert (found[..., 4, 3] >= -1 - 1e-6).all() and found[..., 4, 3].max() > 0  # grown bright
    assert found[..., 4, 4].min() < 0  # or grown dark
    assert torch.equal(found[..., :3, :], images[..., :3, :])


def test_a_chain_runs_its_steps_in_order_from_one_generator():
    images, rng = pictures(3), torch.Generator().manual_seed(5)
    by_hand = images
    for step in (use("warp"), use("noise", amount=0.2)):
        by_hand = registry().build("augmentation", step)(by_hand, rng)
    found = augment("chain", images, seed=5, steps=["warp", {"name": "noise", "amount": 0.2}])
    assert torch.equal(found, by_hand)
