"""Any image model of timm as f: classifiers, self-supervised and face networks, pretrained or fitted here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from domtrans import DomtransError, Encoder, read_weights


class TimmEncoder(Encoder):
    """f: the pooled features of a timm model, and a linear head over the source's classes.

    Images are resized and normalised as the model's own training had them.

    ``model``: a name from ``timm.list_models()``; ``hf_hub:owner/name`` takes one from the hub.
    ``pretrained``: begin from published weights, downloaded once into the hub's cache.
    ``file``: begin from a local file of the model's weights instead (.safetensors, .pth or .pt).
    ``stage``: take the features of this stage, 0 for the first, pooled; by default those before the classifier.
    ``input_size``: side in pixels that images are resized to; by default the recipe's image size, or with ``pretrained``
    or ``file`` the size that the model was trained at.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        model: str = "resnet18",
        pretrained: bool = False,
        file: str | None = None,
        stage: NonNegativeInt | None = None,
        input_size: Annotated[int, Field(ge=16, le=1024)] | None = None,
    ) -> None:
        super().__init__()
        self.pretrained, self.file, self.classes = pretrained, file, classes
        self.body: Any
        self.body, self.feature_size = _build(model, stage)
        published = self.body.pretrained_cfg
        trained_at = published.get("input_size", (3, size, size))[-1]
        self.input_size = input_size or (trained_at if pretrained or file else size)
        self.register_buffer("mean", torch.tensor(published.get("mean", (0.5,) * 3)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(published.get("std", (0.5,) * 3)).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Linear(self.feature_size, max(classes, 1))

    mean: Tensor
    deviation: Tensor

    def load_pretrained(self) -> None:
        """Load what ``pretrained`` or ``file`` ask for; DomtransError if it is not to be had or does not fit."""
        name = self.body.pretrained_cfg.get("architecture", type(self.body).__name__)
        if self.file is not None:
            weights = read_weights(Path(self.file))
            missing = self.body.load_state_dict(weights, strict=False).missing_keys
            if missing:
                raise DomtransError(f"{self.file} does not fit timm's {name}: {missing[0]} is missing from the file")
        elif self.pretrained:
            try:
                timm.models.load_pretrained(self.body, pretrained_cfg=self.body.pretrained_cfg, num_classes=0)
            except Exception as error:  # noqa: BLE001 - hub clients raise whatever the network provokes
                reason = " ".join(str(error).split())[:120]
                raise DomtransError(
                    f"the published weights of timm's {name} could not be had ({reason}); connect to the network, "
                    "give a local file with encoder.file=FILE, or fit f from scratch with encoder.pretrained=false"
                ) from None

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, F]."""
        if images.shape[-1] != self.input_size:
            side = (self.input_size, self.input_size)
            images = F.interpolate(images, side, mode="bilinear", antialias=True, align_corners=False)
        features = self.body(((images + 1) / 2 - self.mean) / self.deviation)
        if isinstance(features, list):  # the map of one stage; some models keep its channels last
            last = features[0].shape[-1] == self.feature_size != features[0].shape[1]
            features = features[0].mean((1, 2) if last else (2, 3))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, F] to class logits [B, K]; DomtransError for an f of fewer than two classes."""
        if self.classes < 2:
            return super().logits(features)
        return self.head(features)


def _build(model: str, stage: int | None) -> tuple[Any, int]:
    """The model without its classifier, and its number of features; DomtransError if timm cannot build it so."""
    try:
        if stage is None:
            body: Any = timm.create_model(model, pretrained=False, num_classes=0)
            return body, int(body.num_features)
        body = timm.create_model(model, pretrained=False, features_only=True, out_indices=(stage,))
        return body, int(body.feature_info.channels()[0])
    except Exception as error:  # noqa: BLE001 - hundreds of models, each with faults of its own
        reason = " ".join(str(error).split())[:120]
        where = model if stage is None else f"{model} with stage={stage}"
        raise DomtransError(f"timm cannot build {where} ({reason}); timm.list_models() names what there is") from None
