"""Transfer picture files: one, several, folders with their structure kept, and pictures that move."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from domtrans.compute import torchrun
from domtrans.data.image_files import format_of, unremarked
from domtrans.errors import DomtransError, Stopped
from domtrans.inference.contact_sheet import Sheet
from domtrans.inference.framing import Layout
from domtrans.inference.jobs import output_names, plan, read_stream
from domtrans.inference.pipeline import Outcome, Pipeline, threads, write
from domtrans.registry.registry import Registry
from domtrans.runs.run import Run, load
from domtrans.session import Listener, Progress

__all__ = ["BATCH_SIZE", "Format", "Transferred", "output_names", "transfer"]

BATCH_SIZE = 256
MOST_WORKERS = 8
"""Threads at most, where nobody says how many."""
HELD = 512 * 2**20
"""Bytes, at most, that a batch of outputs takes: very large ones make smaller batches."""
TOLD_EVERY = 0.2
"""Seconds between reports to listeners, at least."""

Format = Literal["png", "jpg", "webp"]
Source = str | Path | BinaryIO


@dataclass(frozen=True)
class Transferred:
    """What became of the pictures, in order: files written; those not read, with the reason; outputs that were there."""

    written: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]
    skipped: tuple[Path, ...] = ()


def transfer(
    run: Run | str | Path,
    source: Source | Sequence[Source],
    destination: str | Path | BinaryIO,
    *,
    device: str = "auto",
    format: Format | None = None,
    size: int | None = None,
    side_by_side: bool = False,
    faces: bool = False,
    sheet: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    skip_existing: bool = False,
    part: tuple[int, int] = (0, 1),
    registry: Registry | None = None,
    listeners: tuple[Listener, ...] = (),
    stop: threading.Event | None = None,
) -> Transferred:
    """Transfer a picture file to a file, or every picture under a folder to a folder, as PNG.

    ``a.jpg`` becomes ``a.png``; where two pictures would become one file, as ``a.jpg`` and ``a.png`` would, they keep their
    endings: ``a.jpg.png`` and ``a.png.png``. A picture of a folder that cannot be read is passed over and listed in
    ``failed``. A destination inside the source folder is no part of it. Every file is written whole or not at all. The output
    has the input's alpha where its format can hold it. Of an animation (GIF, APNG, WebP) or a film every frame is transferred,
    and of an animation the first where the output cannot move.

    ``source``: a file, a folder, a pattern such as ``photos/**/*.jpg``, an open binary file, or several of the former; names
    are kept from the folder on that all of them share. ``destination``: a file for a single one, else a folder, or an open
    binary file. ``format``: of pictures in a folder; a single file's ending says it. ``size``: side of the output in pixels,
    resized; None: as the network makes it. ``side_by_side``: the input's centre square on the left of the output. ``faces``:
    find every face in a photograph and transfer that: ``a.jpg`` becomes ``a-1.png``, ``a-2.png`` and so on, left to right, and
    ``a.png``, on which each stands above what it became; needs the extra "faces". ``sheet``: a picture to write as well, with
    inputs above outputs, of 256 files at most, evenly spread. ``batch_size``: images that the network takes at a time.
    ``workers``: threads that decode and encode; None: one for every core, 8 at most. ``skip_existing``: leave alone what is
    there. ``part``: ``(k, n)``, only the k-th file, k from 0, of every n, for several processes that share the work.
    ``listeners``: hear how far it has come. ``stop``: once set, Stopped is raised when the pictures under way are written.

    Raises DomtransError if ``source`` is not there, a single file cannot be read, a picture would be written over one that is
    to be read, or nothing can be written.
    """
    workers = min(MOST_WORKERS, max(1, torchrun.cores())) if workers is None else workers
    for name, value, most in (("size", size, 8192), ("batch_size", batch_size, 65536), ("workers", workers, 256)):
        if value is not None and not 1 <= value <= most:
            raise DomtransError(f"{name}={value} will not do: it is 1 or more, and {most} at most")
    if format not in (None, *get_args(Format)):
        raise DomtransError(f"pictures are written as {', '.join(get_args(Format))}, not as '{format}'")
    beside = [] if sheet is None else [Path(sheet)]
    kinds = [format_of(path) for path in beside]
    ending = None if format is None else f".{format}"
    jobs, single = plan(_sources(source), _file(destination), ending=ending, several_each=faces, beside=beside)
    jobs = jobs[part[0] :: part[1]]
    done = {job for job in jobs if skip_existing and job.is_done}
    todo = [job for job in jobs if job not in done]
    run = run if isinstance(run, Run) else load(run, device=device, registry=registry)
    layout = Layout(run.recipe.image_size, size or run.recipe.image_size, side_by_side)
    told, seen = _Teller(listeners, stop or threading.Event()), Sheet(len(todo) if beside else 0)
    batch_size = max(1, min(batch_size, HELD // (4 * layout.side**2)))
    outcomes: list[Outcome] = []
    pool = threads(workers)
    try:
        with unremarked():
            frames = told.frames if single else lambda *_: told.check(len(outcomes), len(todo))
            pipeline = Pipeline(run.transfer, layout, pool, workers, batch_size, faces, seen, frames)
            for outcome in pipeline.outcomes(todo):
                outcomes.append(outcome)
                told.files(len(outcomes), len(todo))
    finally:
        pool.shutdown(cancel_futures=True)
    outcomes.sort(key=lambda outcome: outcome.position)
    failed = tuple((Path(outcome.job.name), outcome.fault) for outcome in outcomes if outcome.fault)
    if single and failed:
        raise DomtransError(failed[0][1])
    for path, kind in zip(beside, kinds, strict=True):
        content = seen.encoded(kind)
        if content is not None:
            write(path, content)
    written = tuple(path for outcome in outcomes for path in outcome.written)
    return Transferred(written, failed, tuple(job.target for job in jobs if job in done and isinstance(job.target, Path)))


class _Teller:
    """Tells listeners how far a transfer has come, and ends it on request."""

    def __init__(self, listeners: tuple[Listener, ...], stop: threading.Event) -> None:
        self.listeners, self.stop = listeners, stop
        self.began = self.last = time.monotonic()

    def files(self, done: int, total: int) -> None:
        """So many are written. Raises Stopped if that is not all and the caller asked to stop."""
        self.tell(done, total)
        if done < total:
            self.check(done, total)

    def frames(self, done: int, total: int) -> None:
        """So many of the only file, which moves. Raises Stopped if the caller asked to stop: it is not written yet."""
        self.tell(done, total)
        self.check()

    def tell(self, done: int, total: int) -> None:
        """Tell, but not more often than anybody wants to hear it."""
        now = time.monotonic()
        if now - self.last >= TOLD_EVERY or done == total:
            self.last = now
            rate = {"images_per_second": done / (now - self.began)} if now > self.began else {}
            for listener in self.listeners:
                listener(Progress("transfer", done, total, rate))

    def check(self, done: int = 0, total: int = 1) -> None:
        """Raise Stopped if the caller asked to stop."""
        if self.stop.is_set():
            raise Stopped(f"stopped; {done:,} of {total:,} files are done, and none is half there")


def _sources(source: Source | Sequence[Source]) -> list[Path | BinaryIO]:
    several = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    found = [_file(one) for one in several]
    return [one if isinstance(one, Path) else read_stream(one) for one in found]


def _file(given: Source) -> Path | BinaryIO:
    return Path(given) if isinstance(given, str | Path) else given
