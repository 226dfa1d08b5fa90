"""The supervised loss of the study's digit experiment, for comparison: it must not be mistaken for the method's."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from domtrans import AugmentationOption, DomainOption, DomtransError, Evaluator, Loss, Outputs, Session, seeded
from domtrans_digits.metrics.evaluators import HANDWRITING, Rate, fit


class DigitOracle(Evaluator):
    """A digit classifier of another build than the one that scores: two 5 x 5 convolutions with pooling, two dense layers."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 8 * 8, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, 32, 32] in [-1, 1] to class logits [B, K]."""
        return self.layers(images)


class OracleConsistency(Loss):
    """Supervised: cross-entropy of what a classifier of the target reads in G(x_s) with the source's label.

    The study's replacement for L_CONST (its section V A 2): the classifier is fitted on target labels, which the method does
    not have, and the source's labels are read; so it needs ``oracle=true``, and results say "supervised: oracle". The
    classifier is of another build and seed than the evaluator that scores, but has seen the same labels.

    ``target``: the labelled domain that the classifier is fitted on. ``steps``: of fitting it. ``batch_size``: images in a
    step. ``lr``: AdamW's learning rate, with cosine decay. ``view``: how it sees images while it is fitted.
    Raises DomtransError for a domain without labels.
    """

    reads = frozenset({"source_fake", "source_labels"})

    def __init__(
        self,
        *,
        target: DomainOption,
        steps: PositiveInt = 800,
        batch_size: PositiveInt = 128,
        lr: Rate = 1e-3,
        view: AugmentationOption = HANDWRITING,
    ) -> None:
        super().__init__()
        images = target("train", 32)
        if images.labels is None:
            raise DomtransError("the loss 'oracle-consistency' fits a classifier on target labels, but its target has none")
        session = Session.start(precision="float32").during("oracle")
        with seeded(1):
            self.classifier = DigitOracle(images.channels, len(images.classes)).to(session.device)
            fit(self.classifier, images, session, steps=steps, batch_size=batch_size, lr=lr, view=view, seed=1)
        self.classifier.requires_grad_(False)

    def forward(self, outputs: Outputs) -> Tensor:
        """The cross-entropy, averaged over the batch."""
        assert outputs.source_fake is not None and outputs.source_labels is not None
        return F.cross_entropy(self.classifier(outputs.source_fake).float(), outputs.source_labels)
