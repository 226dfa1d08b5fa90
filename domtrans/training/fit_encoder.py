"""Train f before it is fixed: load or fit it on the source, then adapt it. Every stage is cached."""

from __future__ import annotations

from typing import Any, Literal

import torch

from domtrans.compute.memory import enough_memory
from domtrans.compute.seeding import reseed
from domtrans.data.batches import derive_seed
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.interfaces import Encoder
from domtrans.model.weights import load_encoder
from domtrans.pretrained.locate import local_path
from domtrans.pretrained.trust import trusted
from domtrans.recipe.schema import Recipe
from domtrans.registry.identity import identity
from domtrans.registry.parts import Part, positional_parameters
from domtrans.registry.registry import Registry
from domtrans.session import Session
from domtrans.storage.tensors import fingerprint


def fit_encoder(
    recipe: Recipe, registry: Registry, encoder: Encoder, source: ImageSet, target: ImageSet, session: Session
) -> None:
    """Load the weights of f, or fit f on the source; then adapt it.

    The cache key of a stage holds all that its result depends on: the stage before, the code and options of the fit, the
    seed and the data.
    """
    key: dict[str, Any] = {
        "encoder": identity(registry, "encoder", recipe.encoder),
        "size": recipe.image_size,
        "computed": session.computed,
    }
    stages: list[tuple[Literal["fit", "adapt"], Part | None]] = [("fit", recipe.fit), ("adapt", recipe.adapt)]
    if recipe.encoder.weights is not None:
        load_encoder(encoder, trusted(local_path(recipe.encoder.weights)))
        stages = stages[1:]
    else:
        encoder.load_pretrained()
    key |= {"begins_as": fingerprint(encoder.state_dict())}
    for stage, part in stages:
        if part is None:
            continue
        if next(encoder.parameters(), None) is None:
            raise DomtransError(f"the encoder '{recipe.encoder.name}' has nothing to learn; set {stage}=none")
        during = session.during(stage)
        fit = registry.build("fit", part)
        takes_target = len(positional_parameters(registry.get("fit", part.name).factory)) == 4
        key = {"before": key, "by": identity(registry, "fit", part), "seed": recipe.seed, "source": source.fingerprint()}
        if takes_target:
            key |= {"target": target.fingerprint()}
        arguments = (encoder, source, during) + ((target.unlabelled(),) if takes_target else ())

        def train_f(fit: Any = fit, arguments: tuple[Any, ...] = arguments, stage: str = stage) -> None:
            encoder.to(session.device).to(memory_format=torch.channels_last).train().requires_grad_(True)
            reseed(derive_seed(recipe.seed, stage))  # for dropout in f
            with enough_memory(
                f"{'fitting' if stage == 'fit' else 'adapting'} f", f"choose a smaller {stage}.batch_size or a smaller encoder"
            ):
                fit(*arguments)
            encoder.requires_grad_(False).eval()

        during.progress(0, 1)
        session.cache.fitted(encoder, "encoders", key, train_f)
        during.progress(1, 1)
