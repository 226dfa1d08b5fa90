"""Load a packed run with huggingface_hub's PyTorchModelHubMixin, as a plain torch module.

python examples/hub_mixin.py PACKED        a folder that `domtrans pack` wrote, or OWNER/NAME on a hub

config.json has the arguments of the constructor, and model.safetensors the state dict.
"""

import sys
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

import domtrans.nn


class DomainTransfer(nn.Module, PyTorchModelHubMixin):
    """G = g(f(x)) with the hub's own methods: ``from_pretrained``, ``save_pretrained``, ``push_to_hub``."""

    def __init__(self, recipe: dict[str, Any], classes: list[str], channels: int) -> None:
        super().__init__()
        transfer = domtrans.nn.build(recipe, classes, channels)
        self.encoder, self.generator = transfer.encoder, transfer.generator

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S] in [-1, 1] to images of the target domain."""
        return self.generator(self.encoder(images))


def main(packed: str) -> None:
    """Load the networks and transfer a batch of grey images."""
    network = DomainTransfer.from_pretrained(packed).eval()
    numbers = sum(parameter.numel() for parameter in network.parameters())
    with torch.no_grad():
        outputs = network(torch.zeros(2, 3, 32, 32))
    print(f"loaded {numbers:,} parameters; {tuple(outputs.shape)} images in [{outputs.min():.2f}, {outputs.max():.2f}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
