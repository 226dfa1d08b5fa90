"""SphereFace-20a: Liu, Wen, Yu, Li, Raj, Song: SphereFace: Deep Hypersphere Embedding for Face Recognition, CVPR 2017."""

from __future__ import annotations

from torch import Tensor, nn

from domtrans import Encoder, read_weights
from domtrans_encoders.published import PReLU, file_of, load_exactly
from domtrans_encoders.window import Share, Shift, Window

STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))
"""Channels, and pairs of layers with a shortcut, after each of the four strided convolutions (table 2 of the paper)."""

HEAD = "fc6.weight"
"""The training's 10,574 people, in the published file; f ends before."""


class SphereFace(Encoder):
    """f: SphereFace-20a, a face recogniser: 512 features (``fc5``).

    ``path``: the published ``sphere20a_20171020.pth``. ``crop``: share of the image's height that is looked at, of its width
    six sevenths as much. ``shift``: how far below the image's middle (above, if negative), as a share of its height.
    """

    channels = 3
    feature_size = 512

    def __init__(self, size: int, classes: int, *, path: str | None = None, crop: Share = 0.8, shift: Shift = -0.09) -> None:
        super().__init__()
        self.path = path
        self.window = Window((112, 96), crop=crop, shift=shift, scale=(128.0,) * 3, bgr=True)
        # The names of the published file.
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
        """Load the published file; DomtransError if it is not there or is another."""
        path = file_of(self.path, "sphereface", "sphere20a_20171020.pth")
        load_exactly(
            self.body, {name: value for name, value in read_weights(path).items() if name != HEAD}, path, "SphereFace-20a"
        )

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
