"""f whose features are the predictions of another f."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import PositiveFloat
from torch import Tensor

from domtrans import DomtransError, Encoder, EncoderOption, head_sizes

SMALLEST_PROBABILITY = 1e-30


class Predictions(Encoder):
    """f: the probabilities that the heads of another encoder predict, side by side.

    Features of the last layer still tell a photograph from a drawing. Predictions do not, as far as the heads are right in
    both domains, so that a g that learns from the target finds the same in the source. g sees nothing of x but what the heads
    predict.

    Args:
        of: The other encoder, which has heads.
        hidden: Names of heads that predict nothing: all their values are equally likely. For heads that are not right in the
            source, because nothing in it is labelled with them; g then draws what they stand for as often as in the target.
        sharpen: Multiplies the logits that the features are computed from. Above 1, g sees which value f predicts rather than
            how certain f is, which differs between the domains. The heads' logits stay as they are.

    Raises:
        DomtransError: If the other encoder has no heads, not one of this name, or none that is not hidden.
    """

    shown: Tensor
    even: Tensor

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        of: EncoderOption,
        hidden: list[str] = [],  # noqa: B006 - pydantic hands in a copy
        sharpen: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.sharpen = sharpen
        self.of: Encoder = of(size, classes)
        if not self.of.heads:
            raise DomtransError(
                "the encoder 'predictions' needs an encoder with heads, such as 'attributes' or 'attribute-probe'; "
                f"{type(self.of).__name__} has none"
            )
        self.channels, self.heads = self.of.channels, self.of.heads
        for name in hidden:
            if name not in self.heads:
                raise DomtransError(f"the encoder 'predictions' cannot hide '{name}' (heads: {', '.join(self.heads)})")
        if set(hidden) == set(self.heads):
            raise DomtransError("the encoder 'predictions' needs a head that is not hidden; leave one out of hidden")
        self.sizes_of_heads = head_sizes(self.heads)
        self.feature_size = sum(self.sizes_of_heads)
        rows = list(zip(self.heads, self.sizes_of_heads, strict=True))
        shown = torch.cat([torch.full((n,), name not in hidden) for name, n in rows])
        self.register_buffer("shown", shown, persistent=False)
        self.register_buffer("even", torch.cat([torch.full((n,), 1 / n) for _, n in rows]), persistent=False)

    @property
    def members(self) -> Sequence[Encoder]:
        """The members of the other encoder."""
        return self.of.members

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
        """Probabilities [B, K] to logits of all heads side by side: their logarithms, not sharpened."""
        return features.clamp_min(SMALLEST_PROBABILITY).log() / self.sharpen

    def probabilities(self, features: Tensor) -> Tensor:
        """Features of the other encoder to the probabilities of its heads [B, K]."""
        logits = self.of.logits(features).float().split(self.sizes_of_heads, 1)
        return torch.where(self.shown, torch.cat([(self.sharpen * head).softmax(1) for head in logits], 1), self.even)
