"""Projection: a transfer that draws pixels becomes one that draws by parameters, which c reads from G(x).

c is a network from images to parameters, fitted on the target's own drawings, which are made to look like generated images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from domtrans.compute.seeding import seeded
from domtrans.data.domains import load_domain
from domtrans.data.image_set import Attribute, ImageSet, to_channels
from domtrans.data.parameters import known_values
from domtrans.errors import DomtransError
from domtrans.interfaces import Encoder, head_sizes
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe, use
from domtrans.registry.identity import identity
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry
from domtrans.session import Session

READER = "parameter-reader"
FIT: dict[str, Any] = {
    "name": "classifier",
    "steps": 1500,
    "batch_size": 96,
    "lr": 2e-3,
    "label_smoothing": 0.05,
    "view": {
        "name": "chain",
        "steps": [
            {"name": "warp", "rotate": 0.06, "scale": 0.06, "shear": 0.04, "shift": 0.04},
            "blur",
            "smear",
            "speckle",
            {"name": "noise", "amount": 0.1},
        ],
    },
}
"""How c is fitted: on drawings that are warped, blurred, smeared, speckled and noisy, as G(x) may be."""


class ProjectedTransfer(Transfer):
    """A transfer whose images are drawn by the engine, from the parameters that c reads in G(x).

    Args:
        transfer: The transfer that draws pixels. ``forward`` still gives its pixels.
        reader: c, in eval mode.
        images: The target's drawings, for their engine.
    """

    def __init__(self, transfer: Transfer, reader: Encoder, images: ImageSet) -> None:
        super().__init__(transfer.encoder, transfer.generator, images.engine)
        self.reader = reader

    def parameter_indices(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] to the parameters of the drawings nearest to G(x): int64 [B, S]."""
        drawn = to_channels(self(images), self.reader.channels)
        logits = self.reader.logits(self.reader(drawn)).split(head_sizes(self.reader.heads), 1)
        return torch.stack([slot.argmax(1) for slot in logits], 1)


def project(transfer: Transfer, recipe: Recipe, registry: Registry, session: Session) -> ProjectedTransfer:
    """Fit c on drawings of the recipe's target, or load it from the cache.

    The drawings are the target's training images; c sees none of the source.

    Raises:
        DomtransError: If no engine draws the target.
    """
    target = load_domain(registry, recipe.target, "train", recipe.image_size)
    if target.engine is None or target.parameters is None:
        raise DomtransError(
            f"the target '{recipe.target.name}' of this run is not drawn by an engine, so its images have no parameters; "
            "a target such as avatars has an engine"
        )
    reader, fit = _parts(registry, target)
    slots = zip(target.engine.space.slots.items(), target.parameters.unbind(1), strict=True)
    # The parameters stand for attributes here, so that the fit of an f with attributes fits c.
    drawings = replace(target, attributes={name: Attribute(known_values(slot), index) for (name, slot), index in slots})
    key = {
        "reader": identity(registry, "encoder", reader),
        "fit": identity(registry, "fit", fit),
        "drawings": drawings.fingerprint(),
        "computed": f"{session.device.type} {session.dtype}",
    }
    with seeded(0):  # not the run's seed: the same c reads all runs with this target
        network: Encoder = registry.build("encoder", reader, recipe.image_size, 0)

        def learn() -> None:
            network.to(session.device).to(memory_format=torch.channels_last).train()
            registry.build("fit", fit)(network, drawings, replace(session.during("fit"), seed=0))

        session.cache.fitted(network, "readers", key, learn)
    return ProjectedTransfer(transfer, network.to(session.device).requires_grad_(False).eval(), target)


def _parts(registry: Registry, target: ImageSet) -> tuple[Part, Part]:
    """c and its fit, with all options."""
    assert target.engine is not None
    space = target.engine.space
    reader = use(READER, slots=dict(zip(space.names, space.sizes, strict=True)))
    return registry.resolve("encoder", reader), registry.resolve("fit", Part.model_validate(FIT))
