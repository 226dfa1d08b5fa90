"""A custom loss: G(x) keeps the coarse layout of x. This program registers it itself, without a package.

python examples/custom_loss.py [RUN_FOLDER] [path=value ...]
"""

import sys

import torch.nn.functional as F
from torch import Tensor

import domtrans


class Layout(domtrans.Loss):
    """Mean squared difference between x and G(x), both in grey and averaged over a grid of cells.

    Args:
        cells: Cells along one side of the grid.
        either_polarity: Also accept the negative: a light shape on dark may become a dark shape on light.
    """

    reads = frozenset({"source", "source_fake"})

    def __init__(self, *, cells: int = 4, either_polarity: bool = True) -> None:
        super().__init__()
        self.cells, self.either_polarity = cells, either_polarity

    def forward(self, outputs: domtrans.Outputs) -> Tensor:
        """The loss of a batch; called only if both fields are present."""
        assert outputs.source is not None and outputs.source_fake is not None
        before, after = self._cells(outputs.source), self._cells(outputs.source_fake)
        difference = (after - before).square().mean(1)
        if not self.either_polarity:
            return difference.mean()
        return difference.minimum((after + before).square().mean(1)).mean()

    def _cells(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(domtrans.to_channels(images, 1), self.cells).flatten(1)


class Plugin:
    """The hook that a plugin's module would have; any object with it works."""

    @domtrans.hookimpl
    def register(self, registry: domtrans.Registry) -> None:
        """Register the loss."""
        registry.loss("layout", Layout)


def main(out: str = "runs/with-layout", *overrides: str) -> None:
    """Train digits-dtn with the loss as a further term of L_G."""
    registry = domtrans.load_plugins(Plugin()).registry
    recipe = domtrans.override(
        domtrans.find_recipe("digits-dtn", registry),
        {"generator_losses.layout": {"name": "layout", "weight": 0.5}},
        registry,
    )
    run = domtrans.train(recipe, out, overrides=list(overrides), registry=registry)
    print("transfer accuracy with the layout loss:", run.results["accuracy"])


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except domtrans.DomtransError as error:
        sys.exit(f"error: {error}")
