"""Training strategies from the literature as changes to a recipe, for studies that try them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_G, _D = "train.generator_optimizer", "train.discriminator_optimizer"

STRATEGIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "two-g-steps": ("Two updates of g per update of D.", {"train.generator_steps": 2}),
    "two-d-steps": ("Two updates of D per update of g.", {"train.discriminator_steps": 2}),
    "separate-updates": ("One update from source images, one from target images.", {"train.updates": "separate"}),
    "d-floor": ("D is not updated while its loss is below 1; chance is 3.3.", {"train.discriminator_floor": 1.0}),
    "heavy-gan": ("Twice the weight on the GAN loss of g.", {"generator_losses.gan.weight": 2}),
    "sgd-for-d": ("SGD for D, Adam for g.", {_D: "sgd", f"{_D}.lr": 1e-2}),
    "batch-norm-d": ("Batch norm in D instead of spectral norm.", {"discriminator.norm": "batch"}),
    "const-stop": ("L_CONST ends at 90 % of the run, for clearer images.", {"generator_losses.const.stop": 0.9}),
    "constant-rate": ("Learning rates do not decay.", {f"{_G}.schedule": "constant", f"{_D}.schedule": "constant"}),
    "weight-decay": (
        "A weight decay of 1e-6, which Hua et al. use for faces.",
        {f"{_G}.weight_decay": 1e-6, f"{_D}.weight_decay": 1e-6},
    ),
    "label-smoothing": (
        "Label smoothing of 0.1 for D.",
        {"discriminator_losses.gan.label_smoothing": 0.1},
    ),
    "no-average": ("The last weights of g instead of their moving average.", {"train.ema": 0}),
}
"""By name: a sentence, and changes to a recipe that has losses called gan and const, and an option ``norm`` of D.

Section V of Hua, Rempe, Zhang, Unsupervised Cross-Domain Image Generation, advises two-g-steps, separate-updates, d-floor,
heavy-gan, sgd-for-d, constant-rate and weight-decay. The others are common in training GANs.
"""
