"""One of the two domains of a training: its images, part after part, and f's features of them."""

from __future__ import annotations

import torch
from torch import Tensor

from domtrans.data.batches import Batches, balanced, derive_seed
from domtrans.data.image_set import ImageSet, in_blocks, to_float
from domtrans.interfaces import Augmentation
from domtrans.model.transfer import FrozenEncoder, measured
from domtrans.session import Session


class Side:
    """The images of a domain as the trainer takes them.

    ``name``: "source" or "target". ``balance``: draw evenly over the classes that f's head sees in the images.
    """

    def __init__(
        self,
        name: str,
        images: ImageSet,
        f: FrozenEncoder,
        session: Session,
        augmentation: Augmentation | None = None,
        *,
        balance: bool = False,
    ) -> None:
        self.name, self.images, self.f, self.session, self.augmentation = name, images, f, session, augmentation
        # f never changes, so the features of images that are held and not augmented are computed once.
        self.features = f.encode(images) if images.in_memory and augmentation is None else None
        self.weights = balanced(self._classes()) if balance else None

    def measured(self) -> Tensor:
        """Features of as many images as their mean and covariance need, unaugmented: [N, F]."""
        return self.f.encode(measured(self.images)) if self.features is None else self.features

    def cut(self, size: int) -> None:
        """Take parts of ``size`` images from here on."""
        seed, group = derive_seed(self.session.seed, self.name), self.session.group
        self.batches = Batches(
            len(self.images), size, seed, self.weights, block=self.images.block, rank=group.rank, ranks=group.size
        )
        self.feed = self.session.feed(self.images, self.batches)

    def look(self, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Part ``k``: index int64 [B], images x [B, C, H, W], and f(x) [B, F]; ``rng``: for the augmentation."""
        index, pixels = self.feed[k]
        images = to_float(pixels)
        if self.augmentation is not None:
            images = self.augmentation(images, rng)
        if self.features is not None:
            return index, images, self.features[index]
        with torch.no_grad():
            return index, images, self.f(images)

    @torch.no_grad()
    def _classes(self) -> Tensor:
        """What f's head sees in every image: int64 [N], on the CPU."""
        if self.features is not None:
            return self.f.classify(self.features).argmax(1).cpu()
        blocks = in_blocks(len(self.images), self.session.device)
        feed = self.session.feed(self.images, blocks)
        # Features of millions of images would not fit, what f sees in them does.
        return torch.cat([self.f.classify(self.f(to_float(feed[k][1]))).argmax(1).cpu() for k in range(len(blocks))])
