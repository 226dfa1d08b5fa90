"""The evaluator of avatars: it predicts their attributes, and its features measure their similarity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domtrans import Augmentation, Evaluator, ImageSet, NotMeasurableError, Session, fit_evaluator, predict

MAX_SIZE = 64
"""Side of the input in pixels; larger images are resized to it."""

EVALUATOR_VIEW: Mapping[str, Any] = {
    "name": "chain",
    "steps": [
        {"name": "warp", "rotate": 0.05, "scale": 0.05, "shear": 0.03, "shift": 0.04},
        {"name": "blur"},
        {"name": "noise", "amount": 0.05},
    ],
}
"""Augmentation while the evaluator is fitted: shifted, blurred and noisy, as generated avatars may be."""


class AvatarEvaluator(Evaluator):
    """A classifier of all attributes of an avatar, for evaluation only. ``sizes`` are the numbers of values per attribute."""

    def __init__(self, channels: int, sizes: tuple[int, ...], width: int = 24) -> None:
        super().__init__()

        def block(before: int, after: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
            return [nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        self.whole = nn.Sequential(
            *block(channels, width, 5, 2),
            nn.MaxPool2d(2),
            *block(width, 2 * width),
            *block(2 * width, 2 * width, stride=2),
            nn.AdaptiveAvgPool2d(4),  # keeps the positions of hair and beard
            nn.Flatten(),
        )
        # The centre again at full resolution: brows and mouths are lines of one or two pixels.
        self.middle = nn.Sequential(
            *block(channels, width),
            *block(width, 2 * width, stride=2),
            *block(2 * width, 2 * width),
            nn.MaxPool2d(2),
            *block(2 * width, 2 * width),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
        )
        self.join = nn.Sequential(nn.Linear(64 * width, 128), nn.ReLU(), nn.Dropout(0.2))
        self.sizes = sizes
        self.heads = nn.Linear(128, sum(sizes))

    def forward(self, images: Tensor, *, hidden: bool = False) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] to the logits of all attributes side by side, or to the last hidden layer [B, 128]."""
        if images.shape[-1] > MAX_SIZE:
            images = F.interpolate(images, (MAX_SIZE, MAX_SIZE), mode="bilinear", antialias=True, align_corners=False)
        height, width = images.shape[-2:]
        middle = images[..., height // 4 : height - height // 4, width // 4 : width - width // 4]
        features = self.join(torch.cat([self.whole(images), self.middle(middle)], 1))
        return features if hidden else self.heads(features)


def fit_avatar_evaluator(
    avatars: ImageSet, session: Session, *, steps: int, batch_size: int, view: Augmentation
) -> AvatarEvaluator:
    """An AvatarEvaluator fitted on avatars with their attributes, or loaded from the cache.

    It does not depend on the run's seed, so that all runs are measured alike. Raises NotMeasurableError without attributes.
    """
    if not avatars.attributes:
        raise NotMeasurableError("the evaluator of avatars is fitted on their attributes, but the target has none")
    sizes = tuple(len(attribute.values) for attribute in avatars.attributes.values())
    labels = torch.stack([attribute.index for attribute in avatars.attributes.values()], 1).to(session.device)

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        """Sum over attributes of the cross-entropy, without unknown values."""
        pairs = zip(logits.split(sizes, 1), labels[index].unbind(1), strict=True)
        losses = [F.cross_entropy(logit, label, ignore_index=-1, reduction="sum") for logit, label in pairs]
        return torch.stack(losses).sum() / len(index)

    build = partial(AvatarEvaluator, avatars.channels, sizes)
    return fit_evaluator(build, avatars, session, loss, steps=steps, batch_size=batch_size, lr=2e-3, view=view)


def predict_attributes(evaluator: AvatarEvaluator, images: ImageSet, session: Session) -> list[Tensor]:
    """The predicted value of every attribute, int64 [N] each, on the CPU."""
    return [logits.argmax(1) for logits in predict(evaluator, images, session).split(evaluator.sizes, 1)]


def hidden_features(evaluator: AvatarEvaluator, images: ImageSet, session: Session) -> Tensor:
    """The last hidden layer for every image, float32 [N, 128], on the CPU."""
    return predict(partial(evaluator, hidden=True), images, session)
