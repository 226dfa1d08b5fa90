"""A network that stays as it is while others learn from its outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from domtrans import Encoder, as_buffers


class FixedNorm(nn.Module):
    """What a batch norm computes in eval mode: x * scale + shift, by channel.

    A fixed network has these in place of its batch norms, because the engine gives a D with batch norms each kind of image in
    a batch of its own.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.detach())
        self.register_buffer("scale", scale)
        self.register_buffer("shift", (0 if norm.bias is None else norm.bias.detach()) - norm.running_mean * scale)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] to the same shape."""
        by_channel = (-1, *[1] * (x.ndim - 2))
        return x * self.scale.view(by_channel) + self.shift.view(by_channel)


def fixed(network: Encoder) -> Encoder:
    """The network with its published weights, if it has some, in eval mode and without parameters.

    Its weights become buffers: checkpoints keep them, and no optimizer sees them. Gradients reach the images.

    Raises:
        DomtransError: If the published weights cannot be loaded.
    """
    network.load_pretrained()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d) and child.track_running_stats:
                setattr(module, name, FixedNorm(child))  # type: ignore[arg-type]
    return as_buffers(network).eval()


@torch.no_grad()
def typical_deviation(network: Encoder, size: int) -> Tensor:
    """The standard deviation of the features of random images of different sharpness: a scalar, at least 1e-6."""
    noise = [torch.rand(4, network.channels, side, side) * 2 - 1 for side in (4, 8, size)]
    images = [nn.functional.interpolate(each, (size, size), mode="bilinear", align_corners=False) for each in noise]
    return network(torch.cat(images)).float().std().clamp_min(1e-6)
