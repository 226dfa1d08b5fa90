"""dlib's face recogniser (King: High Quality Face Recognition with Deep Metric Learning, dlib.net blog, 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import DomtransError, Encoder, load_exactly, read_weights
from domtrans_encoders.published import required_path
from domtrans_encoders.tfjs import read_manifest
from domtrans_encoders.window import Crop, Shift, Window

MEAN = (122.782, 117.001, 104.298)
"""Mean of the training data for R, G, B, on a scale of 0 to 255."""


class DlibResNet(Encoder):
    """f: dlib's face recogniser, a ResNet of 29 convolutions with 128 features.

    Args:
        path: Weights as face-api distributes them: ``face_recognition_model-weights_manifest.json``, with the files that
            it names beside it; or the same tensors in one .safetensors file.
        crop: Side of the part that the network sees, as a share of the image's side.
        shift: How far the part's centre lies below the image's centre, as a share of the side; above, if negative.
        resolution: Side that the part is resized to, in pixels; 150 in training, smaller is faster. From 135 to 198 the
            last feature map has 2 x 2 pixels, as in training; outside, the network recognises faces much worse.
    """

    channels = 3
    feature_size = 128

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        path: str | None = None,
        crop: Crop = 0.74,
        shift: Shift = 0.02,
        resolution: Annotated[int, Field(ge=135, le=198)] = 150,
    ) -> None:
        super().__init__()
        self.path = path
        self.window = Window((resolution, resolution), crop=crop, shift=shift, mean=MEAN, scale=(255.0,) * 3)
        blocks = {f"conv32_{i}": Block(32, 32) for i in (1, 2, 3)}
        blocks |= {"conv64_down": Block(32, 64, down=True)} | {f"conv64_{i}": Block(64, 64) for i in (1, 2, 3)}
        blocks |= {"conv128_down": Block(64, 128, down=True)} | {f"conv128_{i}": Block(128, 128) for i in (1, 2)}
        blocks |= {"conv256_down": Block(128, 256, down=True)} | {f"conv256_{i}": Block(256, 256) for i in (1, 2)}
        blocks |= {"conv256_down_out": Block(256, 256, down=True)}
        self.body = nn.ModuleDict({"conv32_down": nn.Conv2d(3, 32, 7, 2), **blocks, "fc": nn.Linear(256, 128, bias=False)})

    def load_pretrained(self) -> None:
        """Load the published weights; DomtransError if the file is missing or holds something else."""
        path = required_path(self.path, "dlib-resnet", "face_recognition_model-weights_manifest.json")
        published = read_manifest(path) if path.suffix == ".json" else read_weights(path)
        load_exactly(self.body, _fold_scaling(published, path), path, "dlib's face recogniser")

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, 128]."""
        first, *blocks, last = self.body.values()
        x = F.max_pool2d(F.relu(first(self.window(images))), 3, 2)
        for block in blocks:
            x = block(x)
        return last(x.mean((2, 3))).float()


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


def _fold_scaling(published: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Published tensors under the names of ``DlibResNet``: filters from H W I O to O I H W, each layer's scaling folded in."""
    rest = {name.replace("/", "."): value.float() for name, value in published.items()}
    folded = {}
    try:
        for layer in [name.removesuffix(".conv.filters") for name in rest if name.endswith(".conv.filters")]:
            filters, bias, scale, shift = (
                rest.pop(f"{layer}.{name}") for name in ("conv.filters", "conv.bias", "scale.weights", "scale.biases")
            )
            folded[f"{layer}.weight"] = filters.permute(3, 2, 0, 1) * scale.view(-1, 1, 1, 1)
            folded[f"{layer}.bias"] = bias * scale + shift
        folded["fc.weight"] = rest.pop("fc").t()
    except (KeyError, RuntimeError) as error:
        raise DomtransError(f"{path} does not hold dlib's face recogniser as face-api distributes it ({error})") from None
    return folded | rest
