"""A loss that stops g from ignoring its noise z."""

from __future__ import annotations

from pydantic import PositiveFloat
from torch import Tensor

from domtrans import DomtransError, Loss, Outputs


class ModeSeeking(Loss):
    """Two transfers of one image with different z should differ: E max(0, 1 - d(G(x, z), G(x, z')) / (share * d(t, t'))).

    d is the mean absolute difference of the pixels, and d(t, t') is its mean over pairs of real target images of the batch, so
    that ``share`` means the same for all targets. A g that ignores z has the loss 1, and more difference than the share of that
    between real images is not rewarded. Mao et al.: Mode Seeking Generative Adversarial Networks, CVPR 2019; with a bound, as
    in Yang et al.: Diversity-Sensitive Conditional Generative Adversarial Networks, ICLR 2019, equation 2. Their distance of z
    and z' is left out: it hardly varies for many values of z.

    Args:
        share: Distance of the two transfers that is enough, as a share of the distance between two real target images.
    """

    reads = frozenset({"source_fake", "source_second_fake", "target"})

    def __init__(self, *, share: PositiveFloat = 0.5) -> None:
        super().__init__()
        self.share = share

    def forward(self, outputs: Outputs) -> Tensor:
        """The mean over the batch. Raises DomtransError for an update of one domain, and among the losses of D."""
        first, second, target = outputs.source_fake, outputs.source_second_fake, outputs.target
        if first is None or second is None or target is None:
            raise DomtransError(
                "the loss 'mode-seeking' trains g, and compares transfers with target images of the same batch; move it to "
                "generator_losses, and set train.updates=joint"
            )
        enough = self.share * distance(target, target.roll(1, 0)).mean().clamp_min(1e-3)
        return (1 - distance(first, second) / enough).clamp_min(0).mean()


def distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of images [B, C, H, W]: [B], float32."""
    return (a - b).abs().float().mean((1, 2, 3))
