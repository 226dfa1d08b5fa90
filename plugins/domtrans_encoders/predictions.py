"""f whose features are the predictions of another f."""

from __future__ import annotations

import torch
from torch import Tensor

from domtrans import DomtransError, Encoder, EncoderOption, head_sizes

SMALLEST_PROBABILITY = 1e-6


class Predictions(Encoder):
    """f: the probabilities that the heads of another encoder predict, side by side.

    Features of the last layer still tell a photograph from a drawing. Predictions do not, as far as the heads are right in
    both domains, so that a g that learns from the target finds the same in the source. g sees nothing of x but what the heads
    predict.

    Args:
        of: The other encoder, which has heads.

    Raises:
        DomtransError: If it has none.
    """

    def __init__(self, size: int, classes: int, *, of: EncoderOption) -> None:
        super().__init__()
        self.of: Encoder = of(size, classes)
        if not self.of.heads:
            raise DomtransError(
                "the encoder 'predictions' needs an encoder with heads, such as 'attributes' or 'attribute-probe'; "
                f"{type(self.of).__name__} has none"
            )
        self.channels, self.heads = self.of.channels, self.of.heads
        self.sizes_of_heads = head_sizes(self.heads)
        self.feature_size = sum(self.sizes_of_heads)

    def load_pretrained(self) -> None:
        """Load the published weights of the other encoder, if it has some; DomtransError if they cannot be loaded."""
        self.of.load_pretrained()

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] to probabilities [B, K], in [0, 1], float32."""
        return self.probabilities(self.of(images))

    def fixed(self, images: Tensor) -> Tensor:
        """What the layers of the other encoder give that no fit changes."""
        return self.of.fixed(images)

    def read(self, found: Tensor) -> Tensor:
        """The output of ``fixed`` to probabilities [B, K]."""
        return self.probabilities(self.of.read(found))

    def logits(self, features: Tensor) -> Tensor:
        """Probabilities [B, K] to logits of all heads side by side: their logarithms."""
        return features.clamp_min(SMALLEST_PROBABILITY).log()

    def probabilities(self, features: Tensor) -> Tensor:
        """Features of the other encoder to the probabilities of its heads [B, K]."""
        logits = self.of.logits(features).float().split(self.sizes_of_heads, 1)
        return torch.cat([head.softmax(1) for head in logits], 1)
