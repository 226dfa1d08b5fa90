"""Advice on training as switches of a recipe, for studies that try them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_G, _D = "train.generator_optimizer", "train.discriminator_optimizer"

STRATEGIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "two-g-steps": ("Two turns of g for one of D.", {"train.generator_steps": 2}),
    "two-d-steps": ("Two turns of D for one of g.", {"train.discriminator_steps": 2}),
    "separate-updates": ("One update from source images, one from target images.", {"train.updates": "separate"}),
    "d-floor": ("D stands still while its loss is below 1; chance is 3.3.", {"train.discriminator_floor": 1.0}),
    "heavy-gan": ("Twice the weight on pleasing D.", {"generator_losses.gan.weight": 2}),
    "sgd-for-d": ("SGD for D, Adam for g.", {f"{_D}.name": "sgd", f"{_D}.lr": 1e-2}),
    "batch-norm-d": ("Batch norm in D instead of spectral norm.", {"discriminator.norm": "batch"}),
    "const-stop": ("L_CONST ends at 90 % of the run, for clearer images.", {"generator_losses.const.stop": 0.9}),
    "constant-rate": ("Learning rates do not decay.", {f"{_G}.schedule": "constant", f"{_D}.schedule": "constant"}),
    "weight-decay": (
        "A weight decay of 1e-6, the study's for faces.",
        {f"{_G}.weight_decay": 1e-6, f"{_D}.weight_decay": 1e-6},
    ),
    "label-smoothing": (
        "A tenth of D's labels is spread over all kinds.",
        {"discriminator_losses.gan.label_smoothing": 0.1},
    ),
    "no-average": ("The last weights of g instead of their running average.", {"train.ema": 0}),
}
"""By name, a sentence and changes to a recipe with losses called gan and const, and an option ``norm`` of D.

Those of section V C of Hua, Rempe, Zhang: Unsupervised Cross-Domain Image Generation ("the study"), and a few beside.
"""
