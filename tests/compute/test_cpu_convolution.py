"""The faster forms of convolutions give the same values and gradients as torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from domtrans.compute.cpu_convolution import FasterConvolutions
from domtrans.compute.device import autocast

LAYERS = {
    "to-one-channel": (nn.ConvTranspose2d(8, 1, 4, 2, 1), 8),
    "to-three-channels": (nn.ConvTranspose2d(8, 3, 3, 2, 1), 7),
    "to-few-unevenly": (nn.ConvTranspose2d(5, 3, 5, 3, 2, bias=False), 5),
    "from-a-pixel": (nn.ConvTranspose2d(6, 4, 4, 1, 0), 1),
    "to-many": (nn.ConvTranspose2d(8, 5, 4, 2, 1), 4),
    "from-one-channel": (nn.Conv2d(1, 8, 4, 2, 1), 16),
    "from-three-channels": (nn.Conv2d(3, 8, 3, 2, 1), 15),
    "to-few-pixels": (nn.Conv2d(8, 6, 4, 2, 1, bias=False), 8),
    "to-a-pixel": (nn.Conv2d(8, 4, 4), 4),
    "windows-with-gaps": (nn.Conv2d(3, 5, 2, 3), 9),
    "no-square-kernel": (nn.Conv2d(3, 5, (3, 2), 2), 8),
    "dilated": (nn.Conv2d(3, 5, 3, dilation=2), 8),
    "grouped": (nn.Conv2d(4, 4, 3, 1, 1, groups=2), 4),
    "uneven-stride": (nn.Conv2d(3, 5, 3, (2, 1), 1), 8),
    "named-padding": (nn.Conv2d(3, 5, 3, padding="same"), 4),
    "output-padding": (nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1), 4),
}


def output_and_gradients(layer: nn.Module, images: Tensor) -> list[Tensor]:
    """The output of a layer, and the gradients of images and parameters."""
    images = images.clone().requires_grad_()
    result = layer(images)
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return [result.detach(), *torch.autograd.grad((result * weights).sum(), [images, *layer.parameters()])]


@pytest.mark.parametrize("name", LAYERS)
def test_a_form_gives_the_same_values_and_gradients(name: str) -> None:
    plain, size = LAYERS[name]
    layer = plain.double()
    images = torch.randn(70, layer.in_channels, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = output_and_gradients(layer, images)
    with FasterConvolutions(torch.float64):
        for ours, theirs in zip(output_and_gradients(layer, images), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("convolution", [torch.conv2d, torch.conv_transpose2d])
def test_the_arguments_have_torchs_names(convolution: Callable[..., Tensor]) -> None:
    images, weight = torch.ones(2, 3, 4, 4, dtype=torch.float64), torch.ones(3, 3, 4, 4, dtype=torch.float64)
    expected = convolution(images, weight)
    with FasterConvolutions(torch.float64):
        torch.testing.assert_close(convolution(input=images, weight=weight, stride=1, dilation=1, groups=1), expected)


@pytest.mark.parametrize("name", ["to-one-channel", "from-one-channel", "to-few-pixels", "to-many"])
def test_a_gradient_has_a_gradient(name: str) -> None:
    """Losses on gradients, such as R1, need second derivatives."""
    plain, _ = LAYERS[name]
    layer = plain.double()
    images = torch.randn(2, layer.in_channels, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with FasterConvolutions(torch.float64):
        assert torch.autograd.gradgradcheck(layer, images.requires_grad_(), atol=1e-4)


def test_gradients_that_are_not_needed_are_not_computed() -> None:
    """While g learns, D is frozen; and the images that the first layer reads need no gradient."""
    layer = nn.Conv2d(1, 8, 4, 2, 1).double()
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    with FasterConvolutions(torch.float64):
        layer(images).sum().backward()
        assert images.grad is None
        layer.requires_grad_(False).zero_grad()
        layer(images.requires_grad_()).sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is None
    assert layer.bias is not None
    assert layer.bias.grad is None


@pytest.mark.parametrize("name", LAYERS)
def test_mixed_precision_uses_the_faster_forms(name: str) -> None:
    """In bfloat16 they are as close to float32 as torch's own kernels."""
    plain, size = LAYERS[name]
    layer = plain.float()
    images = torch.randn(8, layer.in_channels, size, size, generator=torch.Generator().manual_seed(0))
    exact = output_and_gradients(layer, images)
    with autocast(torch.bfloat16, torch.device("cpu")):
        ours = output_and_gradients(layer, images)
    with torch.autocast("cpu", torch.bfloat16):
        theirs = output_and_gradients(layer, images)
    assert ours[0].dtype == theirs[0].dtype == torch.bfloat16
    for our, their, value in zip(ours, theirs, exact, strict=True):
        assert our.dtype == their.dtype
        assert relative_error(our, value) <= 1.5 * relative_error(their, value) + 1e-3


def relative_error(values: Tensor, exact: Tensor) -> float:
    """The relative root mean square error."""
    return float((values.float() - exact).norm() / exact.norm())
