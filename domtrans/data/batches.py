"""Which images make up batch k: a pure function of the seed, so that resuming needs no state."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. ``derive_seed(0, "views", step)``; equal on every machine."""
    text = "/".join(str(step) for step in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Batches:
    """Endless shuffled batches of indices: epoch after epoch without repetition, or drawn by weight.

    Batch ``k`` depends on what is given here, and on k, alone. No image is dropped at the end of an epoch:
    a batch runs on into the next one. ``block``: neighbours that stay together in the shuffle, for a disk that is slow to
    seek; where blocks begin is another in every epoch. Images drawn by weight are drawn one by one. ``rank``, ``ranks``: of
    several processes that go through the same images, the first takes batches 0, ``ranks``, ... of one alone, and so on.
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
        self.weights = None if weights is None else weights.double().cpu()
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
            # Two epochs can meet in one batch; older ones are never asked for again.
            self._epochs = {key: value for key, value in self._epochs.items() if key == epoch - 1} | {epoch: order}
        return self._epochs[epoch]


def balanced(groups: Tensor) -> Tensor:
    """Weights [N] that draw every group equally often; ``groups`` int64 [N]."""
    counts = torch.bincount(groups).clamp_min(1)
    return 1.0 / counts[groups].double()


def evenly(total: int, count: int) -> Tensor:
    """At most ``count`` indices below ``total``, int64, evenly spread, the first and the last among them."""
    count = min(count, total)
    return torch.arange(count) * (total - 1) // max(count - 1, 1)
