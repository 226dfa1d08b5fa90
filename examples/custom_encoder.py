"""A custom encoder: f is a histogram of edge directions, without trainable weights.

python examples/custom_encoder.py [RUN_FOLDER] [path=value ...]
"""

import math
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

import domtrans


class EdgeDirections(domtrans.Encoder):
    """f: edge strength by direction, averaged over a grid of cells. Differentiable, so that g can learn through it.

    Args:
        directions: Number of edge directions.
        cells: Cells along one side of the grid.
    """

    channels = 1

    def __init__(self, size: int, classes: int, *, directions: int = 8, cells: int = 4) -> None:
        super().__init__()
        self.cells, self.feature_size = cells, directions * cells * cells
        angles = torch.arange(directions) * (math.pi / directions)
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        steered = angles.cos().view(-1, 1, 1) * across + angles.sin().view(-1, 1, 1) * across.T
        self.register_buffer("filters", steered.unsqueeze(1))  # a buffer moves and is saved with the module

    def forward(self, images: Tensor) -> Tensor:
        """Grey images [B, 1, size, size] to features [B, directions * cells * cells]."""
        edges = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), self.get_buffer("filters"))
        strength = (edges.square() + 1e-4).sqrt()  # smooth at zero, and independent of the edge's polarity
        return F.adaptive_avg_pool2d(strength, self.cells).flatten(1)


class Plugin:
    """The hook that a plugin's module would have; any object with it works."""

    @domtrans.hookimpl
    def register(self, registry: domtrans.Registry) -> None:
        """Register the encoder."""
        registry.encoder("edge-directions", EdgeDirections)


def main(out: str = "runs/edge-directions", *overrides: str) -> None:
    """Train the paper's recipe with this f, without a fit."""
    registry = domtrans.load_plugins(Plugin()).registry
    changes = {"encoder": "edge-directions", "fit": "none"}
    recipe = domtrans.override(domtrans.find_recipe("digits-dtn-paper", registry), changes, registry)
    run = domtrans.train(recipe, out, overrides=list(overrides), registry=registry)
    print("transfer accuracy with edge directions as f:", run.results["accuracy"])


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except domtrans.DomtransError as error:
        sys.exit(f"error: {error}")
