"""What the engine lends to work that takes a while: a device, random numbers, a cache, a way to tell how it goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from domtrans.compute.device import Precision, autocast, pick_device, pick_dtype
from domtrans.compute.distributed import SINGLE_PROCESS, Group
from domtrans.data.batches import Batches, derive_seed
from domtrans.data.image_set import ImageSet
from domtrans.data.loader import Feed, Readers
from domtrans.errors import Stopped
from domtrans.storage.cache import Cache


@dataclass(frozen=True)
class Progress:
    """How far a phase has come. ``values`` are its latest figures, by name."""

    phase: str
    step: int
    steps: int
    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    """One sentence for the user: something that should be known and stops nothing."""


Listener = Callable[[Progress], None]
"""Called with every Progress; must not change anything of the training."""


@dataclass(frozen=True)
class Session:
    """Where and how to compute, for one run. Handed to fits and metrics."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    seed: int = 0
    cache: Cache = field(default_factory=Cache)
    listeners: tuple[Listener, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    phase: str = ""
    readers: Readers = field(default_factory=Readers)
    group: Group = SINGLE_PROCESS
    """The processes that train together."""

    @classmethod
    def start(
        cls,
        device: str = "auto",
        *,
        precision: Precision = "auto",
        seed: int = 0,
        listeners: tuple[Listener, ...] = (),
        stop: threading.Event | None = None,
        cache: Cache | None = None,
        workers: int | None = 0,
        group: Group = SINGLE_PROCESS,
    ) -> Session:
        """Pick the device and its precision; raises DomtransError if the device is not there.

        ``workers``: processes that decode pictures for ``feed``. ``group``: the processes that train together.
        """
        found = pick_device(device)
        dtype = pick_dtype(precision, found)
        heard, readers = stop or threading.Event(), Readers(workers)
        return cls(found, dtype, seed, cache or Cache(), listeners, heard, readers=readers, group=group)

    def during(self, phase: str) -> Session:
        """The same session in a named phase, with random numbers of its own."""
        return replace(self, phase=phase)

    def rng(self, *purpose: str | int) -> torch.Generator:
        """A generator on the device, seeded for one purpose, e.g. ``session.rng("noise", step)``."""
        return torch.Generator(self.device).manual_seed(derive_seed(self.seed, self.phase, *purpose))

    def feed(self, images: ImageSet, batches: Batches | Sequence[Tensor]) -> Feed:
        """Batches of a set, on the device: ``feed[k]`` is ``(index, images)``, int64 [B] and uint8 [B, C, H, W].

        Asked for one after another, batches of a set that is not in memory are decoded ahead by other processes.
        """
        return Feed(images, batches, self.device, self.readers)

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision as the recipe asks for it."""
        return autocast(self.dtype, self.device)

    def tell(self, step: int, steps: int, note: str) -> None:
        """Tell the listeners something that the user should know; unlike ``report``, no place to stop at."""
        for listener in self.listeners:
            listener(Progress(self.phase, step, steps, note=note))

    def report(self, step: int, steps: int, values: Mapping[str, float] | None = None) -> None:
        """Tell the listeners how far this phase has come. Raises Stopped if the caller asked to stop."""
        for listener in self.listeners:
            listener(Progress(self.phase, step, steps, values or {}))
        if self.stop.is_set():
            raise Stopped(f"stopped during {self.phase}")
