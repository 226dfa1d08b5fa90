"""The image indices of batch k: a pure function of the seed and k, so that resuming needs no state."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from domtrans.compute.device import to_float64


def derive_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. ``derive_seed(0, "views", step)``, the same on every machine."""
    text = "/".join(str(step) for step in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Batches:
    """Endless shuffled batches of indices.

    Batch ``k`` depends on the arguments and on ``k`` alone. No image is dropped at the end of an epoch: its last batch
    continues into the next epoch.

    Args:
        n: Number of images.
        batch_size: Indices per batch.
        seed: Of the shuffle.
        weights: [n], sampling weights. With them, images are sampled with replacement; without, every image occurs once an
            epoch.
        block: Neighbours that stay together in the shuffle, for a disk that is slow to seek. The block borders change with
            every epoch. Weighted sampling ignores it.
        rank: Number of this process.
        ranks: Processes that share the images. Process ``rank`` gets batches ``rank``, ``rank + ranks``, ... of the same
            sequence that a single process would get.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        weights: Tensor | None = None,
        *,
        block: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.n, self.batch_size, self.seed, self.block, self.rank, self.ranks = n, batch_size, seed, block, rank, ranks
        self.weights = None if weights is None else to_float64(weights)
        self._epochs: dict[int, Tensor] = {}

    def __getitem__(self, k: int) -> Tensor:
        """Indices int64 [batch_size] of batch ``k``, on the CPU."""
        start, parts = (k * self.ranks + self.rank) * self.batch_size, []
        missing = self.batch_size
        while missing:
            epoch, offset = divmod(start, self.n)
            part = self._epoch(epoch)[offset : offset + missing]
            parts.append(part)
            start, missing = start + len(part), missing - len(part)
        return torch.cat(parts)

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            rng = torch.Generator().manual_seed(derive_seed(self.seed, "epoch", epoch))
            if self.weights is not None:
                order = torch.multinomial(self.weights, self.n, replacement=True, generator=rng)
            elif self.block == 1:
                order = torch.randperm(self.n, generator=rng)
            else:
                begin = int(torch.randint(self.block, (), generator=rng))
                blocks = torch.arange(self.n).roll(-begin).split(self.block)
                order = torch.cat([blocks[i] for i in torch.randperm(len(blocks), generator=rng).tolist()])
            # A batch can span two epochs; older ones are not needed again.
            self._epochs = {key: value for key, value in self._epochs.items() if key == epoch - 1} | {epoch: order}
        return self._epochs[epoch]


def balanced(groups: Tensor) -> Tensor:
    """Sampling weights float64 [N], on the CPU, that make all groups equally frequent; ``groups``: int64 [N]."""
    counts = torch.bincount(groups).clamp_min(1)
    return 1.0 / to_float64(counts[groups])


def evenly(total: int, count: int) -> Tensor:
    """At most ``count`` indices below ``total``, int64, evenly spread from the first to the last."""
    count = min(count, total)
    return torch.arange(count) * (total - 1) // max(count - 1, 1)
