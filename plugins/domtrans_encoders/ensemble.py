"""Several encoders that predict together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from domtrans import DomtransError, Encoder, EncoderOption, head_sizes, to_channels


class Ensemble(Encoder):
    """f: several encoders with the same heads, whose predictions are averaged. The fit ``each`` fits them one by one.

    The probability of a value is proportional to the weighted geometric mean of the encoders' probabilities (a logarithmic
    opinion pool; Heskes: Selecting weighting factors in logarithmic opinion pools, NeurIPS 1997). The features are those of
    the encoders side by side; the encoder 'predictions' gives g the averaged predictions instead.

    Args:
        encoders: The encoders, each with its own options.
        member_weights: The weight of each encoder; by default all count the same.
        head_weights: Other weights for single heads, by the name of the head. An encoder with weight 0 does not count there.

    Raises:
        DomtransError: If an encoder has no heads or other heads than the first one, there is not one weight for each encoder,
            no encoder counts for a head, or there is no head of a name.
    """

    shares: Tensor

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        encoders: Annotated[list[EncoderOption], Field(min_length=1)],
        member_weights: list[PositiveFloat] | None = None,
        head_weights: dict[str, list[NonNegativeFloat]] = {},  # noqa: B006 - pydantic hands in a copy
    ) -> None:
        super().__init__()
        built: list[Encoder] = [build(size, classes) for build in encoders]
        for encoder in built:
            if not encoder.heads or dict(encoder.heads) != dict(built[0].heads):
                raise DomtransError(
                    f"the encoder 'ensemble' needs encoders with the same heads; {type(encoder).__name__} has "
                    f"{heads_in_words(encoder)}, {type(built[0]).__name__} has {heads_in_words(built[0])}"
                )
        self.encoders: Any = nn.ModuleList(built)
        self.heads, self.sizes_of_heads = built[0].heads, head_sizes(built[0].heads)
        self.channels = max(encoder.channels for encoder in built)
        weights = [1.0] * len(built) if member_weights is None else member_weights
        self.register_buffer("shares", self._shares(weights, head_weights), persistent=False)
        self.lengths = [encoder.feature_size for encoder in built]
        self.feature_size = sum(self.lengths)

    @property
    def members(self) -> tuple[Encoder, ...]:
        """The encoders, in order."""
        return tuple(self.encoders)

    def load_pretrained(self) -> None:
        """Load the published weights of every encoder that has some."""
        for encoder in self.encoders:
            encoder.load_pretrained()

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] in [-1, 1] to features [B, F]; F is the sum over the encoders."""
        return torch.cat([encoder(to_channels(images, encoder.channels)).float() for encoder in self.encoders], 1)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, F] to logits [B, K] of all heads side by side: the weighted means of the log-probabilities."""
        parts = zip(self.encoders, features.split(self.lengths, 1), strict=True)
        logits = torch.stack([self.log_probabilities(encoder.logits(part)) for encoder, part in parts])
        return (self.shares[:, None] * logits).sum(0)

    def _shares(self, member_weights: Sequence[float], head_weights: Mapping[str, Sequence[float]]) -> Tensor:
        """The share of each encoder in every logit: [encoders, K]."""
        if unknown := sorted(set(head_weights) - set(self.heads)):
            raise DomtransError(
                f"the encoder 'ensemble': head_weights names '{unknown[0]}', which is no head of the encoders (they have "
                f"{', '.join(self.heads)})"
            )
        for option, weights in {
            "member_weights": member_weights,
            **{f"head_weights.{k}": v for k, v in head_weights.items()},
        }.items():
            if len(weights) != len(self.encoders):
                raise DomtransError(
                    f"the encoder 'ensemble': {option} has {len(weights)} numbers for {len(self.encoders)} encoders; give one "
                    "for each"
                )
            if not any(weights):
                raise DomtransError(f"the encoder 'ensemble': {option} is 0 for every encoder; give one of them a weight")
        sizes = zip(self.heads, self.sizes_of_heads, strict=True)
        of_logits = torch.tensor([head_weights.get(name, member_weights) for name, size in sizes for _ in range(size)])
        return (of_logits / of_logits.sum(1, keepdim=True)).T  # from [K, encoders]

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Logits [B, K] of all heads side by side to the log-probabilities of each head's values [B, K]."""
        return torch.cat([head.log_softmax(1) for head in logits.float().split(self.sizes_of_heads, 1)], 1)


def heads_in_words(encoder: Encoder) -> str:
    """The names of an encoder's heads with their sizes, for a message."""
    return ", ".join(f"{name} ({n})" for name, n in zip(encoder.heads, head_sizes(encoder.heads), strict=True)) or "none"
