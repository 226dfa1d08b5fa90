"""Loads the batches of an image set in order. Images in files are decoded ahead by worker processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import BinaryIO

import torch
from torch import Tensor

from domtrans.compute import launcher
from domtrans.data.batches import Batches
from domtrans.data.decode_worker import DecodeErrors
from domtrans.data.image_set import ImageSet
from domtrans.data.lazy_images import StoredImages
from domtrans.data.worker_process import WorkerPool, receive_into, receive_message

MAX_DEFAULT_WORKERS = 8
"""Decode processes at most, unless the user gives a number."""


class DecodePool:
    """Worker processes that decode images; see ``decode_worker``. They start when first needed.

    Args:
        workers: Number of processes. None means one for every core but one, at most 8. With 0 there are none, and the caller
            decodes.
    """

    def __init__(self, workers: int | None = 0) -> None:
        self.count = min(MAX_DEFAULT_WORKERS, max(1, launcher.cores() - 1)) if workers is None else workers
        advice = "if memory is short, lower train.workers, or set it to 0 to decode in the training process"
        self.workers = WorkerPool("domtrans.data.decode_worker", max(1, self.count), task="decode", advice=advice)

    def decode(self, images: StoredImages, index: Tensor) -> Future[tuple[Tensor, DecodeErrors]]:
        """Start to decode the images at ``index``, int64 [n].

        Returns:
            uint8 [n, C, size, size] on the CPU, in pinned memory if the set's device is a GPU, and the images that cannot be
            read.
        """
        shape, pinned = (len(index), images.channels, images.size, images.size), images.device.type == "cuda"

        def receive(pipe: BinaryIO) -> tuple[Tensor, DecodeErrors]:
            pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
            errors = [(position, error) for position, error in receive_message(pipe)]
            receive_into(pipe, pixels.numpy().data.cast("B"))
            return pixels, errors

        return self.workers.submit(lambda: images.request(index), receive)

    def close(self) -> None:
        """Wait for requests in progress and end the processes."""
        self.workers.close()


class BatchLoader:
    """Batch ``k`` of a set, on a device. Images in files are decoded in advance if batches are requested in order.

    Args:
        images: The set.
        batches: The indices of batch ``k``, int64 [B].
        device: Where the batches go.
        decode_pool: The processes for images in files.
    """

    def __init__(
        self, images: ImageSet, batches: Batches | Sequence[Tensor], device: torch.device, decode_pool: DecodePool
    ) -> None:
        self.images, self.batches, self.decode_pool = images.to(device), batches, decode_pool
        self._wait_seconds = 0.0
        self._lookahead = 2 + decode_pool.count // 2
        self._pending: dict[int, tuple[Tensor, Future[tuple[Tensor, DecodeErrors]]]] = {}

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """``(index, images)`` of batch ``k``: int64 [B], uint8 [B, C, H, W]."""
        pixels, start = self.images.pixels, time.perf_counter()
        if isinstance(pixels, Tensor):
            index = self.batches[k].to(pixels.device, non_blocking=True)
            return index, pixels[index]
        if self.decode_pool.count:
            index, batch = self._decode_ahead(pixels, k)
        else:
            index = self.batches[k]
            batch = self.images.batch(index)
        self._wait_seconds += time.perf_counter() - start
        return index.to(pixels.device, non_blocking=True), batch

    def pop_wait_seconds(self) -> float:
        """Seconds spent waiting for images in files since the last call."""
        seconds, self._wait_seconds = self._wait_seconds, 0.0
        return seconds

    def _decode_ahead(self, images: StoredImages, k: int) -> tuple[Tensor, Tensor]:
        """Batch ``k``, after requesting the batches that follow it. A jump, as after a rollback, drops other requests."""
        end = len(self.batches) if isinstance(self.batches, Sequence) else k + self._lookahead
        before, self._pending = self._pending, {}
        for j in range(k, min(k + self._lookahead, end)):
            if j in before:
                self._pending[j] = before[j]
            else:
                index = self.batches[j]
                self._pending[j] = index, self.decode_pool.decode(images, index)
        index, future = self._pending.pop(k)
        decoded, errors = future.result()
        batch = images.replace_damaged(decoded, index, errors, labels=self.images.labels)
        return index, batch.to(images.device, non_blocking=True)
