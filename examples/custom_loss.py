"""A loss of your own: G(x) keeps the coarse layout of x. Registered by this program itself, no package needed.

python examples/custom_loss.py [RUN_FOLDER] [path=value ...]
"""

import sys

import torch.nn.functional as F
from torch import Tensor

import domtrans


class Layout(domtrans.Loss):
    """The mean squared difference between x and G(x), both blurred to a few cells and compared in grey.

    ``cells``: side of the blurred images. ``either_polarity``: a light shape on dark may become a dark one on light.
    """

    reads = frozenset({"source", "source_fake"})

    def __init__(self, *, cells: int = 4, either_polarity: bool = True) -> None:
        super().__init__()
        self.cells, self.either_polarity = cells, either_polarity

    def forward(self, outputs: domtrans.Outputs) -> Tensor:
        """The loss of a batch; asked only where both fields are there."""
        assert outputs.source is not None and outputs.source_fake is not None
        before, after = self._cells(outputs.source), self._cells(outputs.source_fake)
        same = (after - before).square().mean(1)
        if not self.either_polarity:
            return same.mean()
        return same.minimum((after + before).square().mean(1)).mean()

    def _cells(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(domtrans.to_channels(images, 1), self.cells).flatten(1)


class Plugin:
    """What a plugin's module would hold; any object with the hook will do."""

    @domtrans.hookimpl
    def register(self, registry: domtrans.Registry) -> None:
        """Register the loss."""
        registry.loss("layout", Layout)


def main(out: str = "runs/with-layout", *overrides: str) -> None:
    """Train digits-dtn with the loss as one more term of L_G."""
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
