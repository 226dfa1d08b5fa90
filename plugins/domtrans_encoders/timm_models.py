"""Any image model of timm as f, pretrained or fitted here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from domtrans import DomtransError, Encoder, load_exactly, read_weights, reason_of
from domtrans_encoders.window import Crop, Shift, Window

CONNECT_SECONDS = 10
"""How long the model hub has to accept a connection."""
LAST_STAGE = -1


class TimmEncoder(Encoder):
    """f: the pooled features or the feature maps of a timm model, and a linear head over the source's classes.

    Images are resized and normalised as in the model's training.

    Args:
        model: A name from ``timm.list_models()``, ``hf-hub:OWNER/NAME`` for a model on the hub, or ``local-dir:FOLDER``
            for one downloaded from there.
        pretrained: Start from the published weights; they are downloaded once into the hub's cache.
        path: Start from a local file of the model's weights instead (.safetensors, .pth or .pt).
        stage: Use the features of this stage (0 is the first); by default those before the classifier.
        features: "pooled" for the mean over positions, a vector; or "map" for the feature maps of the stage, by default the
            last one, for a g that reads maps. An early stage keeps more of the layout of the image.
        embedding: Use the output of the model's last layer, for a recogniser whose last layer gives its features; not
            with ``stage`` or ``features=map``.
        input_size: Side that images are resized to, in pixels; by default the recipe's image size, or with ``pretrained``
            or ``path`` the size of the model's training.
        crop: Side of the part that the network sees, as a share of the image's side.
        shift: How far the part's centre lies below the image's centre, as a share of the side; above, if negative.

    Raises:
        DomtransError: If timm cannot build the model.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        model: str = "resnet18",
        pretrained: bool = False,
        path: str | None = None,
        stage: NonNegativeInt | None = None,
        features: Literal["pooled", "map"] = "pooled",
        embedding: bool = False,
        input_size: Annotated[int, Field(ge=16, le=1024)] | None = None,
        crop: Crop = 1.0,
        shift: Shift = 0.0,
    ) -> None:
        super().__init__()
        if embedding and (stage is not None or features == "map"):
            raise DomtransError(
                "encoder 'timm': 'embedding' uses the last layer, and 'stage' and 'features=map' an earlier one; give only one "
                "of them"
            )
        self.model, self.pretrained, self.path, self.features = model, pretrained, path, features
        self.stage, self.embedding = LAST_STAGE if features == "map" and stage is None else stage, embedding
        self.heads = {"class": classes} if classes > 1 else {}
        self.body: Any
        self.body, self.width = _build(model, self.stage, embedding)
        published = self.body.pretrained_cfg
        trained_at = published.get("input_size", (3, size, size))[-1]
        side = input_size or (trained_at if pretrained or path else size)
        mean, deviation = ([255 * value for value in published.get(key, (0.5,) * 3)] for key in ("mean", "std"))
        self.window = Window((side, side), crop=crop, shift=shift, mean=mean, scale=deviation)
        self.head = nn.Linear(self.width, max(classes, 1))
        if features == "map":
            self.feature_shape = self._shape_of_maps(side)
        else:
            self.feature_size = self.width

    def load_pretrained(self) -> None:
        """Load the weights of ``pretrained`` or ``path``; DomtransError if they cannot be loaded or do not fit."""
        if self.path is not None:
            file, wanted = Path(self.path), self.body.state_dict()
            weights = read_weights(file)
            # The file has more layers than the body, and a body for one stage may hold the model under "model".
            own = {name: weights[key] for name in wanted if (key := name.removeprefix("model.")) in weights}
            load_exactly(self.body, own, file, f"timm's {self.model}")
        elif self.pretrained:
            with cache_only_without_network() as reachable:
                try:
                    trained = _create(self.model, self.stage, self.embedding, pretrained=True)
                except Exception as error:  # noqa: BLE001 - hub clients raise many exceptions
                    reason = reason_of(error) if reachable else "the model hub cannot be reached"
                    raise DomtransError(
                        f"the published weights of timm's {self.model} could not be downloaded ({reason}); connect to the "
                        "network, give a local file with encoder.path=FILE, or train f from scratch with "
                        "encoder.pretrained=false"
                    ) from None
            self.body.load_state_dict(trained.state_dict())

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, F], or to maps [B, C, h, w]."""
        features = self.body(self.window(images))
        if not isinstance(features, list):
            return features
        (maps,) = features
        last = maps.shape[-1] == self.width != maps.shape[1]  # channels_last in some models
        if self.features == "map":
            return maps.movedim(-1, 1) if last else maps
        return maps.mean((1, 2) if last else (2, 3))

    def logits(self, features: Tensor) -> Tensor:
        """Features to class logits [B, K], of maps by their mean; DomtransError for an f of fewer than two classes."""
        if not self.heads:
            return super().logits(features)
        return self.head(features.mean((2, 3)) if self.features == "map" else features)

    def _shape_of_maps(self, side: int) -> tuple[int, ...]:
        """``(C, h, w)`` of the maps for images of this side; DomtransError if the model takes other sizes only."""
        device = next(self.body.parameters()).device
        try:
            with torch.no_grad():
                return tuple(self.eval()(torch.zeros(1, 3, side, side, device=device)).shape[1:])
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = reason_of(error)
            raise DomtransError(
                f"timm's {self.model} does not take images of {side} x {side} pixels ({reason}); set encoder.input_size"
            ) from None
        finally:
            self.train()


@contextmanager
def cache_only_without_network() -> Iterator[bool]:
    """A block in which the client of the model hub uses only its cache if the hub cannot be reached.

    Without it the client would retry and write warnings for a minute. Gives whether the hub can be reached.
    """
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    reachable = bool(getproxies())  # a proxy reaches what this machine cannot
    if not reachable and address.hostname:
        with suppress(OSError):
            port = address.port or (443 if address.scheme == "https" else 80)
            socket.create_connection((address.hostname, port), timeout=CONNECT_SECONDS).close()
            reachable = True
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable
    try:
        yield reachable
    finally:
        constants.HF_HUB_OFFLINE = before


def _create(model: str, stage: int | None, embedding: bool, *, pretrained: bool = False) -> Any:
    """The model as timm builds it, cut off after its features."""
    import timm  # not at the top: importing timm takes as long as importing torch, and most runs do not need it

    end: dict[str, Any] = {} if embedding else {"num_classes": 0}
    if stage is not None:
        end = {"features_only": True, "out_indices": (stage,)}
    return timm.create_model(model, pretrained=pretrained, **end)


def _build(model: str, stage: int | None, embedding: bool) -> tuple[Any, int]:
    """The untrained model and its number of features; DomtransError if timm cannot build it."""
    try:
        body = _create(model, stage, embedding)
        if stage is not None:
            return body, int(body.feature_info.channels()[0])
        return body, int(body.num_classes if embedding else body.num_features)
    except Exception as error:  # noqa: BLE001 - hundreds of models, each with its own errors
        reason = reason_of(error)
        where = model if stage is None else f"{model} with stage={stage}"
        raise DomtransError(f"timm cannot build {where} ({reason}); timm.list_models() lists the models") from None
