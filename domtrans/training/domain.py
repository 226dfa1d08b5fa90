"""One of the two domains of a training: its batches of images, and f's features of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from domtrans.data.batches import Batches, balanced, derive_seed
from domtrans.data.image_set import ImageSet, inference_batches, to_float
from domtrans.interfaces import Augmentation
from domtrans.model.transfer import FrozenEncoder
from domtrans.session import Session

MAX_FEATURE_BYTES = 2**31
"""Memory, at most, for the features of a domain; features that need more are computed for every batch."""


class TrainingDomain:
    """Batches of a domain's images and their features.

    Args:
        name: "source" or "target".
        images: The training images.
        f: The encoder, which never changes.
        session: Device, seed and processes.
        augmentation: Changes every image before anything else sees it.
        balance: Draw evenly over the classes that f's head predicts.
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
        # f never changes, so features of images that are in memory and not augmented are computed once.
        feature_bytes = 4 * len(images) * math.prod(f.feature_shape)
        once = images.in_memory and augmentation is None and feature_bytes <= MAX_FEATURE_BYTES
        self.features = f.encode(images, on_batch=session.during("encode").progress) if once else None
        self.weights = balanced(self._predicted_classes()) if balance else None

    def sample_features(self) -> Tensor:
        """Features [N, F], or maps, of as many images as their mean and covariance need, not augmented."""
        if self.features is not None:
            return self.features
        return self.f.encode(self.f.statistics_sample(self.images), on_batch=self.session.during("encode").progress)

    def set_batch_size(self, size: int) -> None:
        """Set the images in a batch of this process."""
        seed, group = derive_seed(self.session.seed, self.name), self.session.group
        self.batches = Batches(
            len(self.images), size, seed, self.weights, block=self.images.block, rank=group.rank, ranks=group.size
        )
        self.loader = self.session.batch_loader(self.images, self.batches)

    def load_batch(self, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Batch ``k``.

        Args:
            k: The number of the batch.
            rng: Random numbers of the augmentation.

        Returns:
            The indices int64 [B], the images x [B, C, H, W] in [-1, 1], and the features f(x) [B, F], or maps.
        """
        index, pixels = self.loader[k]
        images = to_float(pixels)
        if self.augmentation is not None:
            images = self.augmentation(images, rng)
        if self.features is not None:
            return index, images, self.features[index]
        with torch.no_grad():
            return index, images, self.f(images)

    @torch.no_grad()
    def _predicted_classes(self) -> Tensor:
        """The class that f's head predicts for every image: int64 [N], on the CPU."""
        if self.features is not None:
            return self.f.classify(self.features).argmax(1).cpu()
        blocks = inference_batches(len(self.images), self.session.device)
        loader = self.session.batch_loader(self.images, blocks)
        # Features of millions of images do not fit into memory; their predicted classes do.
        classes, done, during = [], 0, self.session.during("encode")
        during.progress(done, len(self.images))
        for k, block in enumerate(blocks):
            classes.append(self.f.classify(self.f(to_float(loader[k][1]))).argmax(1).cpu())
            done += len(block)
            during.progress(done, len(self.images))
        return torch.cat(classes)


class LoadingStatistics:
    """How loading went since the last reading, for domains that are not in memory."""

    def __init__(self, domains: Mapping[str, TrainingDomain]) -> None:
        self.domains = tuple(domains.values())
        self.last = time.perf_counter()

    def read(self) -> dict[str, float]:
        """Read and reset.

        Returns:
            "data_wait", the share of the time, 0 to 1, that the trainer waited for images; "damaged", the number of image
            files that could not be read since the training started or resumed. Empty if both domains are in memory.
        """
        if all(domain.images.in_memory for domain in self.domains):
            return {}
        before, self.last = self.last, time.perf_counter()
        waited = sum(domain.loader.pop_wait_seconds() for domain in self.domains)
        return {
            "data_wait": round(waited / max(self.last - before, 1e-9), 4),
            "damaged": sum(domain.images.damaged for domain in self.domains),
        }
