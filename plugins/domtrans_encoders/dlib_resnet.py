"""dlib's face recogniser (King: High Quality Face Recognition with Deep Metric Learning, dlib.net blog, 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import DomtransError, Encoder, load_exactly, read_weights, require_extra_file
from domtrans_encoders.dlib_files import Layer, read_layers
from domtrans_encoders.tfjs import read_manifest
from domtrans_encoders.window import Crop, Shift, Window

MEAN = (122.782, 117.001, 104.298)
"""Mean of the training data for R, G, B, on a scale of 0 to 255."""

INPUT_SCALE = 255.0
DLIB_INPUT_SCALE = 256.0
"""What dlib divides pixels by. Its first filters are multiplied by the ratio, so that both kinds of file have one input."""

MAPS = ("conv128_2", "conv256_down_out")
"""The layers whose outputs are the feature maps: an inner one for details such as glasses, the last one for the whole head."""

PACKAGED_WEIGHTS = "face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat"


class DlibResNet(Encoder):
    """f: dlib's face recogniser, a ResNet of 29 convolutions: 128 features, or feature maps.

    Args:
        path: Weights as dlib distributes them, ``dlib_face_recognition_resnet_model_v1.dat``; or as face-api does,
            ``face_recognition_model-weights_manifest.json`` with the files that it names beside it, or the same tensors in
            one .safetensors file. By default dlib's file in the package face_recognition_models, which
            ``pip install 'domtrans[faces]'`` installs.
        crop: Side of the part that the network sees, as a share of the image's side.
        shift: How far the part's centre lies below the image's centre, as a share of the side; above, if negative.
        resolution: Side that the part is resized to, in pixels; 150 in training, smaller is faster. From 135 to 198 the
            last feature map has 2 x 2 pixels, as in training; outside, the network recognises faces much worse.
        features: "embedding" for the 128 features that identify a person, or "map" for an inner and the last feature map
            (9,216 features at a resolution of 150), which still hold what a recogniser learns to ignore, such as glasses.
            Both are vectors; "inner-map" gives the inner map as a map [128, h, w], for a g that reads maps.

    Licence: its author placed the weights in the public domain (CC0).
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        path: str | None = None,
        crop: Crop = 0.74,
        shift: Shift = 0.02,
        resolution: Annotated[int, Field(ge=135, le=198)] = 150,
        features: Literal["embedding", "map", "inner-map"] = "embedding",
    ) -> None:
        super().__init__()
        self.path, self.features = path, features
        self.window = Window((resolution, resolution), crop=crop, shift=shift, mean=MEAN, scale=(INPUT_SCALE,) * 3)
        blocks = {f"conv32_{i}": Block(32, 32) for i in (1, 2, 3)}
        blocks |= {"conv64_down": Block(32, 64, down=True)} | {f"conv64_{i}": Block(64, 64) for i in (1, 2, 3)}
        blocks |= {"conv128_down": Block(64, 128, down=True)} | {f"conv128_{i}": Block(128, 128) for i in (1, 2)}
        blocks |= {"conv256_down": Block(128, 256, down=True)} | {f"conv256_{i}": Block(256, 256) for i in (1, 2)}
        blocks |= {"conv256_down_out": Block(256, 256, down=True)}
        self.body = nn.ModuleDict({"conv32_down": nn.Conv2d(3, 32, 7, 2), **blocks, "fc": nn.Linear(256, 128, bias=False)})
        inner, last = sides_of_maps(resolution)
        if features == "inner-map":
            self.feature_shape = (128, inner, inner)
        else:
            self.feature_size = 128 if features == "embedding" else 128 * inner**2 + 256 * last**2

    def load_pretrained(self) -> None:
        """Load the published weights; DomtransError if the file is missing or holds something else."""
        path = Path(self.path) if self.path else require_extra_file(*PACKAGED_WEIGHTS, "faces", "the encoder 'dlib-resnet'")
        load_exactly(self.body, self._read(path), path, "dlib's face recogniser")

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, 128], to both maps as a vector [B, F], or to the inner map."""
        x, maps = F.max_pool2d(F.relu(self.body["conv32_down"](self.window(images))), 3, 2), []
        for name, block in self.body.items():
            if isinstance(block, Block):
                x = block(x)
                if name in MAPS:
                    if self.features == "inner-map":
                        return x.float()
                    maps.append(x.flatten(1).float())
        return torch.cat(maps, 1) if self.features == "map" else self.body["fc"](x.mean((2, 3))).float()

    def _read(self, path: Path) -> dict[str, Tensor]:
        """The tensors of a file under the names of this class."""
        if path.suffix == ".dat":
            convolutions = [name for name, module in self.body.named_modules() if isinstance(module, nn.Conv2d)]
            return _from_dlib(read_layers(path), convolutions, path)
        return _from_face_api(read_manifest(path) if path.suffix == ".json" else read_weights(path), path)


class Block(nn.Module):
    """Residual block of two convolutions; ``down`` halves height and width, in the shortcut by average pooling.

    As in dlib, the smaller of the two results is padded with zeros at the right and bottom, and so are new channels.
    """

    def __init__(self, inputs: int, width: int, *, down: bool = False) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(inputs, width, 3, 2, 0) if down else nn.Conv2d(inputs, width, 3, 1, 1)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, width, H, W], or half of H and W."""
        residual = self.conv2(F.relu(self.conv1(x)))
        if self.down:
            x = F.avg_pool2d(x, 2)
            (height, width), (pooled_height, pooled_width) = residual.shape[2:], x.shape[2:]
            residual = F.pad(residual, (0, pooled_width - width, 0, pooled_height - height))
            x = F.pad(x, (0, 0, 0, 0, 0, residual.shape[1] - x.shape[1]))
        return F.relu(x + residual)


def sides_of_maps(resolution: int) -> tuple[int, int]:
    """The sides of the inner and of the last map."""
    side = ((resolution - 7) // 2 + 1 - 3) // 2 + 1  # after the first convolution and the max pooling
    sides = []
    for _ in range(4):
        side = max((side - 3) // 2 + 1, side // 2)
        sides.append(side)
    return sides[1], sides[3]


def _from_dlib(layers: Sequence[Layer], convolutions: Sequence[str], path: Path) -> dict[str, Tensor]:
    """Layers of dlib's own file under the given names; each convolution is followed by a layer of a scale and a shift."""
    weights: dict[str, Tensor] = {}
    try:
        pairs = zip(layers[:-1:2], layers[1:-1:2], strict=True)
        for name, (convolution, affine) in zip(convolutions, pairs, strict=True):
            filters, bias, scale, shift = (*convolution.split(), *affine.split())
            weights |= _fold(name, filters, bias.flatten(), scale.flatten(), shift.flatten())
        (matrix,) = layers[-1].split()
    except (ValueError, IndexError, RuntimeError) as error:
        raise DomtransError(f"{path} does not hold dlib's face recogniser ({error})") from None
    weights[f"{convolutions[0]}.weight"] *= INPUT_SCALE / DLIB_INPUT_SCALE
    return weights | {"fc.weight": matrix.flatten(1).t()}


def _from_face_api(published: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Published tensors under the names of ``DlibResNet``; their filters are H W I O."""
    rest = {name.replace("/", "."): value.float() for name, value in published.items()}
    folded: dict[str, Tensor] = {}
    try:
        for layer in [name.removesuffix(".conv.filters") for name in rest if name.endswith(".conv.filters")]:
            filters, bias, scale, shift = (
                rest.pop(f"{layer}.{name}") for name in ("conv.filters", "conv.bias", "scale.weights", "scale.biases")
            )
            folded |= _fold(layer, filters.permute(3, 2, 0, 1), bias, scale, shift)
        folded["fc.weight"] = rest.pop("fc").t()
    except (KeyError, RuntimeError) as error:
        raise DomtransError(f"{path} does not hold dlib's face recogniser as face-api distributes it ({error})") from None
    return folded | rest


def _fold(name: str, filters: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> dict[str, Tensor]:
    """A convolution, filters [O, I, H, W], with the scaling [O] after it folded in."""
    return {f"{name}.weight": filters * scale.view(-1, 1, 1, 1), f"{name}.bias": bias * scale + shift}
