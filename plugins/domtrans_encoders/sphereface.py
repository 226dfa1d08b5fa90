"""SphereFace-20a (Liu, Wen, Yu, Li, Raj, Song: Deep Hypersphere Embedding for Face Recognition, CVPR 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from domtrans import Encoder, load_exactly, read_weights
from domtrans_encoders.published import PReLU, required_path
from domtrans_encoders.window import Crop, Shift, Window

STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))
"""Channels of each of the four stages, and its number of residual blocks (table 2 of the paper)."""

CLASSIFIER_KEY = "fc6.weight"
"""The classifier of the 10,574 training identities in the published file; f does not use it."""


class SphereFace(Encoder):
    """f: SphereFace-20a, a face recogniser with 512 features (layer ``fc5``).

    Args:
        path: The published file ``sphere20a_20171020.pth``.
        crop: Height of the part that the network sees, as a share of the image's height; its width is 6/7 of that.
        shift: How far the part's centre lies below the image's centre, as a share of the height; above, if negative.
    """

    channels = 3
    feature_size = 512

    def __init__(self, size: int, classes: int, *, path: str | None = None, crop: Crop = 0.8, shift: Shift = -0.09) -> None:
        super().__init__()
        self.path = path
        self.window = Window((112, 96), crop=crop, shift=shift, scale=(128.0,) * 3, bgr=True)
        # Layer names as in the published file.
        self.body = nn.ModuleDict()
        before = 3
        for stage, (width, pairs) in enumerate(STAGES, 1):
            for layer in range(1, 2 * pairs + 2):
                first = layer == 1
                self.body[f"conv{stage}_{layer}"] = nn.Conv2d(before if first else width, width, 3, 2 if first else 1, 1)
                self.body[f"relu{stage}_{layer}"] = PReLU(width)
            before = width
        self.body["fc5"] = nn.Linear(512 * 7 * 6, 512)

    def load_pretrained(self) -> None:
        """Load the published weights; DomtransError if the file is missing or holds something else."""
        path = required_path(self.path, "sphereface", "sphere20a_20171020.pth")
        weights = {name: value for name, value in read_weights(path).items() if name != CLASSIFIER_KEY}
        load_exactly(self.body, weights, path, "SphereFace-20a")

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, 512]."""
        x = self.window(images)
        for stage, (_, pairs) in enumerate(STAGES, 1):
            x = self._layer(x, stage, 1)
            for first in range(2, 2 * pairs + 2, 2):
                x = x + self._layer(self._layer(x, stage, first), stage, first + 1)
        return self.body["fc5"](x.flatten(1)).float()

    def _layer(self, x: Tensor, stage: int, layer: int) -> Tensor:
        return self.body[f"relu{stage}_{layer}"](self.body[f"conv{stage}_{layer}"](x))
