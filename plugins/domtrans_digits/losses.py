"""The supervised loss of the study's digit experiment, for comparison only."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from domtrans import AugmentationOption, DomainOption, DomtransError, Evaluator, Loss, Outputs, Session, list_names
from domtrans_digits.metrics.evaluators import HANDWRITING_VIEW, fit_classifier


class DigitOracle(Evaluator):
    """A digit classifier of another architecture than the evaluator: two 5 x 5 convolutions and two dense layers."""

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
    """Supervised: cross-entropy between a target classifier's prediction for G(x_s) and the source's label.

    The study's replacement for L_CONST (its section V A 2). The classifier is fitted on target labels, which the method
    does not use, and source labels enter the loss. A recipe with it therefore needs ``oracle=true``, and its results say
    "supervised: oracle". The classifier has another architecture and seed than the evaluator, but the same labels.

    Args:
        session: Device, cache and progress; from the engine.
        target: The labelled domain on which the classifier is fitted.
        steps: Steps of fitting the classifier.
        batch_size: Images per step.
        lr: Learning rate of AdamW, with cosine decay.
        view: Augmentation of the images while the classifier is fitted.

    Raises:
        DomtransError: If the domain has no labels.
    """

    reads = frozenset({"source_fake", "source_labels"})

    def __init__(
        self,
        session: Session | None = None,
        *,
        target: DomainOption,
        steps: PositiveInt = 800,
        batch_size: PositiveInt = 128,
        lr: PositiveFloat = 1e-3,
        view: AugmentationOption = HANDWRITING_VIEW,
    ) -> None:
        super().__init__()
        images = target("train", 32)
        if images.labels is None:
            raise DomtransError("the loss 'oracle-consistency' needs a target with labels, but this one has none")
        # float32 and seed 0: the oracle is the same for every seed and precision of the run
        session = replace(session or Session.start(), dtype=torch.float32, seed=0).during("oracle")
        options = {"steps": steps, "batch_size": batch_size, "lr": lr, "view": view}
        self.classifier = fit_classifier(DigitOracle, images, session, **options, seed=1)
        # One from the cache must compute as one that was just fitted: the memory format decides how sums are rounded.
        self.classifier.requires_grad_(False).to(memory_format=torch.channels_last)
        self.classes = images.classes
        self.positions: dict[tuple[str, ...], Tensor] = {}
        """Names of source classes: their positions among the classes of the target, on the device."""

    def forward(self, outputs: Outputs) -> Tensor:
        """The cross-entropy, averaged over the batch."""
        assert outputs.source_fake is not None and outputs.source_labels is not None
        labels = outputs.source_labels
        if outputs.source_classes is not None and outputs.source_classes != self.classes:
            labels = self._by_name(labels, outputs.source_classes)
        return F.cross_entropy(self.classifier(outputs.source_fake).float(), labels)

    def _by_name(self, labels: Tensor, names: tuple[str, ...]) -> Tensor:
        """Labels that index ``names``, as indices into the classifier's classes. The host waits for labels only if some of
        the names are not classes of the target."""
        if names not in self.positions:
            known = {name: number for number, name in enumerate(self.classes)}
            self.positions[names] = torch.tensor([known.get(name, -1) for name in names]).to(labels.device)
        found = self.positions[names][labels]
        if not set(names) <= set(self.classes) and bool((found < 0).any()):
            missing = [name for name in names if name not in self.classes]
            raise DomtransError(
                f"the source has images of the classes {list_names(missing)}, which the target of the loss "
                f"'oracle-consistency' does not have (it has {list_names(self.classes)}); give both the same class names, or "
                "leave these classes out with the domain 'subset'"
            )
        return found
