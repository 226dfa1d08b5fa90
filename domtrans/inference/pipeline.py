"""Files through the network: threads decode what comes and encode what came, while the network is at the batch between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor

from domtrans.compute.memory import enough_memory
from domtrans.data.image_files import encode_picture, faults_of, flatten, open_picture
from domtrans.errors import DomtransError
from domtrans.inference.contact_sheet import Sheet, sheet
from domtrans.inference.face_detection import find_faces
from domtrans.inference.framing import Layout, Pixels, Taken
from domtrans.inference.jobs import Job, numbered
from domtrans.inference.video import FILMS, Timed, moves, opened_clip, write_clip
from domtrans.storage.atomic import write_bytes

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Opened:
    """A file on its way: its image, or each of its faces; none if it moves, which is done apart, or if there is a fault."""

    position: int
    job: Job
    images: tuple[Taken, ...] = ()
    moves: bool = False
    fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of the file at ``position``: what was written, or why it could not be read."""

    position: int
    job: Job
    written: tuple[Path, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Pipeline:
    """``network``: G, uint8 [B, 3, S, S] to uint8 [B, C, S, S]. ``faces``: look for them, rather than at the whole.

    ``seen``: collects what a contact sheet shows. ``told``: hears how many frames of a moving picture are done, and of how
    many; it may raise.
    """

    network: Callable[[Tensor], Tensor]
    layout: Layout
    pool: Executor
    workers: int
    batch_size: int
    faces: bool
    seen: Sheet
    told: Callable[[int, int], None]

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Those of single pictures in order, then those of moving ones. Raises DomtransError where nothing can be written."""
        moving = []
        opened = ahead(self.pool, self._open, enumerate(jobs), 2 * self.batch_size)
        for one, outcome in ahead(self.pool, self._save, self._transferred(opened), 2 * self.batch_size):
            if one.moves:
                moving.append(one)
            else:
                yield outcome
        for one in moving:
            yield self._clip(one.position, one.job)

    def _open(self, numbered_job: tuple[int, Job]) -> Opened:
        position, job = numbered_job
        try:
            if job.is_film:
                return Opened(position, job, moves=True)
            with faults_of(job.name), open_picture(job.source) as image:
                if not self.faces and moves(image) and job.may_move:
                    return Opened(position, job, moves=True)
                if job.kind in FILMS:
                    raise DomtransError(f"{job.name} does not move and can become no film; write .png or .jpg")
                image.load()
                images = find_faces(flatten(image), max(self.layout.seen, self.layout.side)) if self.faces else [image]
                if not images:
                    raise DomtransError(f"no face was found in {job.name}")
                return Opened(position, job, tuple(map(self.layout.take, images)))
        except DomtransError as error:
            return Opened(position, job, fault=str(error))

    def _transferred(self, opened: Iterable[Opened]) -> Iterator[tuple[Opened, Pixels]]:
        for some in _batches(opened, self.batch_size):
            made = self._made([taken for one in some for taken in one.images])
            for one in some:
                mine, made = made[: len(one.images)], made[len(one.images) :]
                for taken, image in zip(one.images, mine, strict=True):
                    self.seen.add(one.position, taken.pixels, image)
                yield one, mine

    def _made(self, images: Sequence[Taken]) -> Pixels:
        """G of images: uint8 [N, C, S, S]."""
        if not images:
            return np.empty(0, np.uint8)
        parts = torch.from_numpy(np.stack([taken.pixels for taken in images])).split(self.batch_size)
        with enough_memory(f"{self.batch_size} pictures at a time", "choose a smaller batch size"):
            return torch.cat([self.network(part).cpu() for part in parts]).numpy()

    def _save(self, transferred: tuple[Opened, Pixels]) -> tuple[Opened, Outcome]:
        one, made = transferred
        written = []
        for number, (taken, image) in enumerate(zip(one.images, made, strict=True), 1):
            target = numbered(one.job.target, number) if self.faces else one.job.target
            written.append(write(target, encode_picture(self.layout.lay(image, taken), one.job.kind, str(target))))
        if self.faces and written:
            pairs = [(taken.pixels, image) for taken, image in zip(one.images, made, strict=True)]
            written.append(write(one.job.target, sheet(pairs, one.job.kind)))  # last: it is what says that a file is done
        return one, Outcome(one.position, one.job, tuple(written), one.fault)

    def _clip(self, position: int, job: Job) -> Outcome:
        try:
            if self.faces:
                raise DomtransError(f"{job.name} is a film; faces are sought in single pictures")
            if not job.may_move:
                raise DomtransError(f"{job.name} is a film; write another, such as .mp4, or a .gif, .webp or .png that moves")
            with opened_clip(job.source, job.name) as clip:
                frames = self._frames(clip.frames, position, clip.count)
                content = write_clip(frames, job.kind, str(job.target), loop=clip.loop)
        except DomtransError as error:
            return Outcome(position, job, fault=str(error))
        return Outcome(position, job, (write(job.target, content),))

    def _frames(self, frames: Iterator[Timed], position: int, count: int) -> Iterator[Timed]:
        """G of every frame. Few wait here at their full size: those of a film may be large ones."""
        taken = ahead(self.pool, lambda timed: (self.layout.take(timed[0]), timed[1]), frames, 2 * self.workers)
        done = 0
        while some := list(islice(taken, self.batch_size)):
            made = self._made([one for one, _ in some])
            for (one, seconds), image in zip(some, made, strict=True):
                if not done:
                    self.seen.add(position, one.pixels, image)
                done += 1
                yield self.layout.lay(image, one), seconds
            self.told(done, max(count, done))


def ahead(pool: Executor, work: Callable[[Item], Made], items: Iterable[Item], most: int) -> Iterator[Made]:
    """``work(item)`` of every item, in order; at most ``most`` of them are under way or wait to be taken.

    Unlike ``Executor.map`` it takes no more items than that beforehand: memory stays where it is, however many there are.
    """
    under_way: deque[Future[Made]] = deque()
    for item in items:
        under_way.append(pool.submit(work, item))
        if len(under_way) >= most:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def threads(count: int) -> ThreadPoolExecutor:
    """Threads that decode and encode: Pillow lets the others run meanwhile."""
    return ThreadPoolExecutor(count, "domtrans-transfer")


def _batches(opened: Iterable[Opened], most: int) -> Iterator[list[Opened]]:
    """As many files at a time as have ``most`` images between them; those without any count as one."""
    some: list[Opened] = []
    held = 0
    for one in opened:
        some.append(one)
        held += max(1, len(one.images))
        if held >= most:
            yield some
            some, held = [], 0
    if some:
        yield some


def write(target: Path | BinaryIO, content: bytes) -> Path:
    """Write a file whole or not at all. Raises DomtransError if that cannot be."""
    if not isinstance(target, Path):
        target.write(content)
        return Path(str(getattr(target, "name", "the output")))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DomtransError(f"{target} cannot be written: {error.strerror}") from None
    write_bytes(target, content, durable=False)
    return target
