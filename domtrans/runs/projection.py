"""Projection: a transfer that draws pixels becomes one that draws by parameters, which a network c reads in G(x)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from domtrans.data.domains import load_domain
from domtrans.data.engine import DrawingEngine
from domtrans.data.image_set import to_channels
from domtrans.errors import DomtransError
from domtrans.evaluation.parameter_reader import ParameterReader, fit_parameter_reader
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import Registry
from domtrans.session import Session


class ProjectedTransfer(Transfer):
    """A transfer whose images are drawn by the engine, from the parameters that c reads in G(x).

    Args:
        transfer: The transfer that draws pixels. ``forward`` still gives its pixels.
        reader: c, fitted.
        engine: What draws the images.
        reading: For every slot, the share of held-out drawings in which c reads it correctly.
    """

    def __init__(
        self, transfer: Transfer, reader: ParameterReader, engine: DrawingEngine, reading: Mapping[str, float]
    ) -> None:
        super().__init__(transfer.encoder, transfer.generator, engine)
        self.reader, self.reading = reader, reading

    @property
    def drawn_by(self) -> str:
        """What draws the final images, and from which parameters."""
        assert self.engine is not None
        return f"{self.engine.version or type(self.engine).__name__}, from the parameters that c reads in G(x)"

    def parameter_indices(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] to the parameters that c reads in G(x): int64 [B, S]."""
        return self._read(self(images))

    def indices_of_features(self, features: Tensor) -> Tensor:
        """Standardised features [B, F] to the parameters that c reads in the image that g gives them: int64 [B, S]."""
        return self._read(self.generator(features))

    def _read(self, images: Tensor) -> Tensor:
        slots = self.reader(to_channels(images, 3)).split(self.reader.sizes, 1)
        return torch.stack([logits.argmax(1) for logits in slots], 1)


def project(transfer: Transfer, recipe: Recipe, registry: Registry, session: Session) -> ProjectedTransfer:
    """Fit c on the target's training drawings, or load it from the cache. c sees nothing of the source.

    Raises:
        DomtransError: If no engine draws the target.
    """
    drawings = load_domain(registry, recipe.target, "train", recipe.image_size)
    if drawings.engine is None:
        raise DomtransError(f"the target '{recipe.target.name}' is not drawn by an engine, so its images have no parameters")
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays
        # Not the run's seed: the same c reads the images of all runs with this target.
        reader, reading = fit_parameter_reader(drawings, replace(session.during("fit"), seed=0))
    return ProjectedTransfer(transfer, reader, drawings.engine, reading)
