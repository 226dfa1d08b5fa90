"""The score for digits: does a classifier of real handwriting read G(x) as the digit that x shows?"""

from __future__ import annotations

import inspect
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from domtrans import AugmentationOption, Batches, ImageSet, NotMeasurableError, Trial, seeded, to_float
from domtrans_digits import networks

HANDWRITING = {
    "name": "chain",
    "steps": [{"name": "warp", "rotate": 0.25, "scale": 0.15, "shear": 0.25, "shift": 0.1, "elastic": 0.03}],
}
"""Views of handwriting that the evaluator is fitted on."""


def digit_accuracy(
    trial: Trial,
    *,
    steps: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    lr: Annotated[float, Field(gt=0)] = 3e-3,
    view: AugmentationOption = HANDWRITING,
) -> dict[str, float | int]:
    """Transfer accuracy, by an evaluator fitted on the labelled target training images.

    Gives ``accuracy``: share of source test images whose transfer the evaluator reads as the source's label;
    ``encoder_accuracy``: share that f's own head reads rightly in the source images (absent without a head);
    ``evaluator_accuracy``: the evaluator's own, on real target test images; ``n``: number of source test images.
    ``steps``: of fitting the evaluator; by default 800, or 2,500 for more than 10,000 images. ``batch_size``: images in a
    step. ``lr``: AdamW's learning rate, with cosine decay. ``view``: how the evaluator sees images while it is fitted.
    Raises NotMeasurableError where labels are missing or the source has classes that the target does not.
    """
    source, train, test = trial.source, trial.target_train, trial.target_test
    for name, images in (("source", source), ("target", train)):
        if images.labels is None:
            raise NotMeasurableError(f"digit-accuracy needs labels of the {name}, which has none")
    if source.classes != train.classes[: len(source.classes)]:
        raise NotMeasurableError(
            f"digit-accuracy needs the source's classes in the target too; the source has {len(source.classes)} "
            f"({', '.join(source.classes[:12])}), the target {len(train.classes)} ({', '.join(train.classes[:12])})"
        )
    with seeded(0):  # the ruler is the same for every run: it does not hang on the run's seed
        evaluator = fit_evaluator(trial, steps or (800 if len(train) <= 10_000 else 2_500), batch_size, lr, view)
    results: dict[str, float | int] = {
        "accuracy": share(read(evaluator, ImageSet(trial.transfer.apply_to(source)), trial), source.labels),
        "evaluator_accuracy": share(read(evaluator, test, trial), test.labels),
        "n": len(source),
    }
    if trial.transfer.encoder.has_head():
        results["encoder_accuracy"] = share(read(Head(trial), source, trial), source.labels)
    return results


def fit_evaluator(trial: Trial, steps: int, batch_size: int, lr: float, view: AugmentationOption) -> nn.Module:
    """The evaluator, fitted on real target images (AdamW, cosine decay, label smoothing 0.05) or found in the cache."""
    session, train = trial.session, trial.target_train
    assert train.labels is not None
    evaluator = networks.DigitEvaluator(train.channels, len(train.classes)).to(session.device)
    images, labels = train.images.to(session.device), train.labels.to(session.device)

    def fit() -> None:
        evaluator.train().to(memory_format=torch.channels_last)
        batches = Batches(len(train), batch_size, seed=0)
        optimizer = torch.optim.AdamW(evaluator.parameters(), lr, weight_decay=0.02, fused=True)
        rng = torch.Generator(session.device).manual_seed(0)
        for step in range(steps):
            factor = min(1.0, (step + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
            optimizer.param_groups[0]["lr"] = lr * factor
            index = batches[step].to(session.device)
            batch = view(to_float(images[index]), rng)
            with session.autocast():
                logits = evaluator(batch).float()
            loss = F.cross_entropy(logits, labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 50 == 49:
                session.report(step + 1, steps, {"evaluator_loss": loss.item()})

    key = {
        "target": train.fingerprint(),
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "view": repr(getattr(view, "keywords", view)),
        "code": inspect.getsource(networks.DigitEvaluator) + inspect.getsource(fit_evaluator),
    }
    session.cache.fitted(evaluator, "evaluators", key, fit)
    return evaluator.eval()


class Head(nn.Module):
    """f with its own head, as a classifier of source images."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.encoder = trial.transfer.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Images to f's class logits [B, K]."""
        return self.encoder.classify(self.encoder(images))


@torch.no_grad()
def read(classifier: nn.Module, images: ImageSet, trial: Trial) -> Tensor:
    """The class that a classifier sees in every image, int64 [N], on the CPU."""
    blocks = images.images.split(512)
    return torch.cat([classifier(to_float(block.to(trial.session.device))).argmax(1).cpu() for block in blocks])


def share(found: Tensor, labels: Tensor | None) -> float:
    """Share of predictions that are right, rounded to four places."""
    assert labels is not None
    return round((found == labels).double().mean().item(), 4)
