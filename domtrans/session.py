"""What the engine lends to work that takes a while: a device, random numbers, a cache, and a way to report progress."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from domtrans.compute.device import autocast, pick_device, pick_dtype
from domtrans.compute.distributed import SINGLE_PROCESS, Group
from domtrans.compute.precision import Precision
from domtrans.data.batches import Batches, derive_seed
from domtrans.data.image_set import ImageSet
from domtrans.data.loader import BatchLoader, DecodePool
from domtrans.errors import DomtransError, Stopped
from domtrans.storage.cache import Cache

Phase = Literal[
    "data",
    "fit",
    "adapt",
    "oracle",
    "encode",
    "train",
    "evaluate",
    "generate",
    "transfer",
    "inspect",
    "render",
    "time",
    "profile",
]
"""What a long call is doing.

"data": loading the domains. "fit", "adapt", "oracle": training f, adapting it, training the classifier of the loss ``oracle``.
"encode": computing the features of training images. "train": training g and D. "evaluate": measuring. "generate": writing a
generated set. "transfer": transferring files. "inspect", "render": reading a data set, drawing one. "time", "profile": a
benchmark.
"""

RANDOM_STREAMS = {phase: phase for phase in ("data", "fit", "adapt", "train", "evaluate", "generate", "oracle")}
"""The name of each phase in the seeds of its random numbers. To rename a phase, change the key only: another value would
change the results of every recipe."""


@dataclass(frozen=True)
class Progress:
    """How far a phase has come.

    Args:
        phase: What the call is doing; see Phase.
        step: Steps done in this phase, 0 at its start.
        steps: Steps of the whole phase.
        values: The latest values by name, e.g. losses.
        note: A sentence for the user about something that stops nothing; empty for plain progress.
    """

    phase: Phase
    step: int
    steps: int
    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


Listener = Callable[[Progress], None]
"""Called with every Progress. It must not change anything in the training."""


Listeners = Listener | Iterable[Listener]
"""One listener, or several."""


def as_listeners(listeners: Any) -> tuple[Listener, ...]:
    """One listener or several as a tuple; raises DomtransError for anything that is not a function."""
    each = (listeners,) if callable(listeners) or not isinstance(listeners, Iterable) else tuple(listeners)
    for listener in each:
        if not callable(listener):
            raise DomtransError(f"a listener is a function that gets every Progress, not {type(listener).__name__}")
    return each


@dataclass(frozen=True)
class Session:
    """Where and how to compute, for one run. Fits, losses and metrics get one.

    Args:
        device: Where to compute.
        dtype: The autocast type: float32 or bfloat16.
        seed: The seed of the run; every random number is derived from it.
        cache: Keeps what can be computed again.
        listeners: Called with every Progress.
        stop: Set by the caller to stop.
        phase: The present phase, "data" until ``during`` begins another; see Phase.
        stream: Names the random numbers of the phase.
        decode_pool: Worker processes that decode images.
        group: The processes that train together.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    seed: int = 0
    cache: Cache = field(default_factory=Cache)
    listeners: tuple[Listener, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    phase: Phase = "data"
    stream: str = ""
    decode_pool: DecodePool = field(default_factory=DecodePool)
    group: Group = SINGLE_PROCESS

    @classmethod
    def start(
        cls,
        device: str = "auto",
        *,
        precision: Precision = "auto",
        seed: int = 0,
        listeners: Listeners = (),
        stop: threading.Event | None = None,
        cache: Cache | None = None,
        workers: int | None = 0,
        group: Group = SINGLE_PROCESS,
    ) -> Session:
        """Pick the device and its precision.

        Args:
            device: "cpu", "cuda", "cuda:N", "mps", or "auto" for the best one here.
            precision: "float32", "bf16", or "auto": bf16 where the hardware has it.
            seed: The seed of the run.
            listeners: One function, or several, called with every Progress.
            stop: An event that the caller sets to stop.
            cache: A cache; by default the user's.
            workers: Processes that decode images for ``batch_loader``; None: one for every core but one.
            group: The processes that train together.

        Raises:
            DomtransError: If the device is not available, or a listener is not a function.
        """
        chosen = pick_device(device)
        return cls(
            chosen,
            pick_dtype(precision, chosen),
            seed,
            cache or Cache(),
            as_listeners(listeners),
            stop or threading.Event(),
            decode_pool=DecodePool(workers),
            group=group,
        )

    def during(self, phase: Phase) -> Session:
        """The same session in another phase, with random numbers of its own."""
        return replace(self, phase=phase, stream=RANDOM_STREAMS.get(phase, phase))

    def rng(self, *purpose: str | int) -> torch.Generator:
        """A generator on the device, seeded for one purpose, e.g. ``session.rng("noise", step)``."""
        return torch.Generator(self.device).manual_seed(derive_seed(self.seed, self.stream, *purpose))

    def batch_loader(self, images: ImageSet, batches: Batches | Sequence[Tensor]) -> BatchLoader:
        """Load the batches of a set onto the device.

        Images in files are decoded in advance by worker processes if batches are requested in order.

        Args:
            images: The set.
            batches: The indices of batch ``k``, int64 [B].

        Returns:
            A loader; ``loader[k]`` is ``(index, images)``, int64 [B] and uint8 [B, C, H, W].
        """
        return BatchLoader(images, batches, self.device, self.decode_pool)

    @property
    def computed(self) -> str:
        """Kind of device and precision, such as "cpu torch.float32"; part of the cache key of whatever is fitted."""
        return f"{self.device.type} {self.dtype}"

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision, as the recipe says."""
        return autocast(self.dtype, self.device)

    def progress(self, step: int, steps: int, values: Mapping[str, float] | None = None) -> None:
        """Report how far this phase has come.

        Raises:
            Stopped: If the caller asked to stop.
        """
        for listener in self.listeners:
            listener(Progress(self.phase, step, steps, values or {}))
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        """Raise Stopped if the caller asked to stop. Work that reports no progress for seconds calls this in between."""
        if self.stop.is_set():
            raise Stopped(f"stopped during {self.phase}")

    def note(self, step: int, steps: int, note: str) -> None:
        """Tell the user something that stops nothing. Unlike ``progress``, it never raises Stopped."""
        for listener in self.listeners:
            listener(Progress(self.phase, step, steps, note=note))

    # Names of version 0.1, for plugins that were written for it.

    def feed(self, images: ImageSet, batches: Batches | Sequence[Tensor]) -> BatchLoader:
        """Deprecated; use ``batch_loader``."""
        warnings.warn("Session.feed is deprecated; use Session.batch_loader", DeprecationWarning, stacklevel=2)
        return self.batch_loader(images, batches)

    def report(self, step: int, steps: int, values: Mapping[str, float] | None = None) -> None:
        """Deprecated; use ``progress``."""
        warnings.warn("Session.report is deprecated; use Session.progress", DeprecationWarning, stacklevel=2)
        self.progress(step, steps, values)

    def tell(self, step: int, steps: int, note: str) -> None:
        """Deprecated; use ``note``."""
        warnings.warn("Session.tell is deprecated; use Session.note", DeprecationWarning, stacklevel=2)
        self.note(step, steps, note)
