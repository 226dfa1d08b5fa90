"""An encoder of your own: f counts the directions of edges, and is not trained at all.

python examples/custom_encoder.py [RUN_FOLDER] [path=value ...]
"""

import math
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

import domtrans


class EdgeDirections(domtrans.Encoder):
    """Strength of edges by direction, pooled over a grid of cells: differentiable, so that g learns through it.

    ``directions``: how finely directions are told apart. ``cells``: side of the grid.
    """

    channels = 1

    def __init__(self, size: int, classes: int, *, directions: int = 8, cells: int = 4) -> None:
        super().__init__()
        self.cells, self.feature_size = cells, directions * cells * cells
        angles = torch.arange(directions) * (math.pi / directions)
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        steered = angles.cos().view(-1, 1, 1) * across + angles.sin().view(-1, 1, 1) * across.T
        self.register_buffer("filters", steered.unsqueeze(1))  # a buffer: it moves with the module and is saved

    def forward(self, images: Tensor) -> Tensor:
        """Grey images [B, 1, size, size] to features [B, directions * cells * cells]."""
        edges = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), self.get_buffer("filters"))
        strength = (edges.square() + 1e-4).sqrt()  # smooth at zero; either polarity of an edge counts the same
        return F.adaptive_avg_pool2d(strength, self.cells).flatten(1)


class Plugin:
    """What a plugin's module would hold; any object with the hook will do."""

    @domtrans.hookimpl
    def register(self, registry: domtrans.Registry) -> None:
        """Register the encoder."""
        registry.encoder("edge-directions", EdgeDirections)


def main(out: str = "runs/edge-directions", *overrides: str) -> None:
    """Train the paper's recipe with this f, which needs no fit."""
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
