"""Formulas of losses and distances in NumPy, in float64."""

import numpy as np
import torch

from domtrans import Outputs, use
from tiny import registry


def by_hand_cosine(a, b):
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    cos = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return (1 - cos).mean()


RNG = np.random.default_rng(1)


LOGITS = {name: RNG.normal(size=(4, 3)) for name in ("source_fake_logits", "target_fake_logits", "target_logits")}


def log_loss(logits, kind, smoothing=0.0):
    """Cross-entropy with a one-hot target and label smoothing over all three classes."""
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = np.full(3, smoothing / 3)
    wanted[kind] += 1 - smoothing
    return -(log_p * wanted).sum(1).mean()


def pick(fields, *names):
    return {name: fields[name] for name in names}


def loss(name, fields, **options):
    built = registry().build("loss", use(name, **options))
    assert set(fields) <= built.reads
    return built(Outputs(**{key: torch.tensor(value) for key, value in fields.items()})).item()
