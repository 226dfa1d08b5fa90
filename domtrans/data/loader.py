"""Batches of a set, one after another; of a set in files they are decoded ahead, by processes that do nothing else."""

from __future__ import annotations

import json
import subprocess
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import torch
from torch import Tensor

from domtrans.compute import torchrun
from domtrans.data.batches import Batches
from domtrans.data.decode_worker import Faults
from domtrans.data.image_set import ImageSet
from domtrans.data.lazy_images import StoredImages
from domtrans.data.worker_process import end, start
from domtrans.errors import DomtransError

MOST = 8
"""Processes at most, where nobody says how many."""


class Readers:
    """Processes that decode pictures (see ``decode_worker``), started when first needed. A thread here waits at every pipe.

    ``workers``: how many; None: one for every core but one; 0: none, whoever wants images decodes them.
    """

    def __init__(self, workers: int | None = 0) -> None:
        self.count = min(MOST, max(1, torchrun.cores() - 1)) if workers is None else workers
        self._threads = ThreadPoolExecutor(max(1, self.count), "domtrans-reader")
        self._idle: list[subprocess.Popen[bytes]] = []
        self._end = weakref.finalize(self, _end_all, self._idle)

    def read(self, images: StoredImages, index: Tensor) -> Future[tuple[Tensor, Faults]]:
        """Begin to decode the images at ``index``: uint8 [n, C, size, size], on the CPU, and which could not be read."""
        request = {"places": images.places(index), "size": images.size, "channels": images.channels}
        shape = (len(index), images.channels, images.size, images.size)
        return self._threads.submit(self._ask, json.dumps(request).encode() + b"\n", shape, images.device.type == "cuda")

    def close(self) -> None:
        """End the processes; what is under way is taken to its end."""
        self._threads.shutdown(cancel_futures=True)
        self._end()

    def _ask(self, request: bytes, shape: tuple[int, ...], pinned: bool) -> tuple[Tensor, Faults]:
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        for fresh in (False, True):  # one that the system took away, for want of memory perhaps, gets a successor
            process = self._process(fresh)
            faults = _exchange(process, request, pixels.numpy().data.cast("B"))
            if faults is not None:
                self._idle.append(process)
                return pixels, faults
            end(process)
        raise DomtransError(
            f"a process that reads pictures ended twice, the last time with exit code {process.returncode}; memory may be "
            "short: try a lower train.workers, or 0 to read in the training itself"
        )

    def _process(self, fresh: bool) -> subprocess.Popen[bytes]:
        with suppress(IndexError):
            if not fresh:
                return self._idle.pop()
        return start("domtrans.data.decode_worker")


class Feed:
    """Batch ``k`` of a set, on a device. Asked for one after another, as a training does, they are decoded in time.

    ``batches``: the indices of batch ``k``, int64 [B].
    """

    def __init__(self, images: ImageSet, batches: Batches | Sequence[Tensor], device: torch.device, readers: Readers) -> None:
        self.images, self.batches, self.readers = images.to(device), batches, readers
        self._seconds = 0.0
        self._ahead = 2 + readers.count // 2
        self._coming: dict[int, tuple[Tensor, Future[tuple[Tensor, Faults]]]] = {}

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """``(index, images)`` of batch ``k``: int64 [B], uint8 [B, C, H, W]."""
        pixels, began = self.images.pixels, time.perf_counter()
        if isinstance(pixels, Tensor):
            index = self.batches[k].to(pixels.device)
            return index, pixels[index]
        if self.readers.count:
            index, found = self._decoded(pixels, k)
        else:
            index = self.batches[k]
            found = self.images.batch(index)
        self._seconds += time.perf_counter() - began
        return index.to(pixels.device), found

    def waited(self) -> float:
        """Seconds spent waiting for images that are not in memory since this was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _decoded(self, images: StoredImages, k: int) -> tuple[Tensor, Tensor]:
        """Batch ``k``, and those after it on their way. A jump, as after a rollback, forgets what was on its way."""
        most = len(self.batches) if isinstance(self.batches, Sequence) else k + self._ahead
        before, self._coming = self._coming, {}
        for j in range(k, min(k + self._ahead, most)):
            if j in before:
                self._coming[j] = before[j]
            else:
                index = self.batches[j]
                self._coming[j] = index, self.readers.read(images, index)
        index, future = self._coming.pop(k)
        decoded, faults = future.result()
        mended = images.mend(decoded, index, faults, like=self.images.labels)
        return index, mended.to(images.device, non_blocking=True)


def _exchange(process: subprocess.Popen[bytes], request: bytes, pixels: memoryview) -> Faults | None:
    """One request and its answer, straight into ``pixels``; None if the process is no more."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.flush()
        line = process.stdout.readline()
        whole = process.stdout.readinto(pixels) == len(pixels)  # type: ignore[attr-defined]
    except BrokenPipeError:
        return None
    return [(position, fault) for position, fault in json.loads(line)] if whole else None


def _end_all(processes: list[subprocess.Popen[bytes]]) -> None:
    while processes:
        end(processes.pop())
