"""Sets of images that are drawn rather than read: into memory here, into files by ``shards.py``.

Torch is imported where tensors are made, not here: what draws imports this module, in processes that do nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any

import numpy as np

from domtrans.data.render_worker import Block, Draw, draw_block
from domtrans.data.worker_process import end, start
from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from torch import Tensor

    from domtrans.data.image_set import ImageSet
    from domtrans.storage.cache import Cache

BLOCK = 100
"""Pictures that a process draws at a time."""

WORTHWHILE = 1000
"""Pictures for which it pays to start another process."""

Span = tuple[int, int]
"""Numbers of pictures: the first, and the one after the last."""


@dataclass(frozen=True, eq=False)
class DrawnSet:
    """Images that are drawn one by one, as many of them as anyone asks for.

    ``draw``: ``draw(numbers, **options)``, a function at the top level of a module, gives ``(picture, attributes)`` for each
    number of a range. The picture is uint8 [size, size, 3] or the bytes of a PNG file; the attributes are its values by name,
    but for those that it does not show. Both hang on the number and the options alone, so that any process can draw any part
    of the set. ``options``: plain values, as JSON has them. ``size``: side in pixels. ``count``: images in the set.
    ``vocabulary``: the attributes and their values. ``about``: one line for people. ``depends``: what else the pictures hang
    on, such as versions of libraries: a set is kept in the cache for as long as all this is the same.
    """

    draw: Draw
    options: Mapping[str, Any]
    size: int
    count: int
    vocabulary: Mapping[str, tuple[str, ...]]
    about: str = ""
    depends: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> dict[str, Any]:
        """Plain values that picture ``i`` hangs on."""
        where = f"{self.draw.__module__}.{self.draw.__qualname__}"
        words = {name: list(values) for name, values in self.vocabulary.items()}
        return {"draw": where, "size": self.size, "vocabulary": words, **self.options, **self.depends}

    def load(self, cache: Cache | None = None, workers: int | None = None) -> ImageSet:
        """All of it in memory: drawn by ``workers`` processes (as many as there are cores, if it is large), and kept.

        Raises DomtransError for pictures of another size and for values that are not in the vocabulary.
        """
        from domtrans.data.image_set import Attribute, ImageSet
        from domtrans.storage.cache import Cache

        workers = min(os.cpu_count() or 1, self.count // WORTHWHILE) if workers is None else workers
        kept = (cache or Cache()).tensors("drawn", {**self.key, "count": self.count}, partial(self._tensors, workers))
        attributes = {name: Attribute(tuple(values), kept[f"attribute.{name}"]) for name, values in self.vocabulary.items()}
        return ImageSet(kept["images"], about=self.about, attributes=attributes)

    def blocks(self, spans: Iterable[Span], *, files: bool, workers: int) -> Generator[Block, None, None]:
        """The pictures of every span, in order, by so many processes; see ``draw_block``."""
        code = self.draw.__module__, self.draw.__qualname__
        if workers > 1 and code[0] != "__main__" and "." not in code[1]:
            what = {"module": code[0], "function": code[1], "options": dict(self.options)}
            return by_processes(what, spans, files=files, workers=workers)
        draw = partial(self.draw, **self.options)
        return (draw_block(draw, *span, files=files) for span in spans)

    def number(self, name: str, attributes: Mapping[str, str]) -> int:
        """The place of an image's value in the vocabulary; -1 where it does not show the attribute."""
        if name not in attributes:
            return -1
        try:
            return self.vocabulary[name].index(attributes[name])
        except ValueError:
            raise DomtransError(
                f"{self.about or 'a drawing'}: '{attributes[name]}' is no value of the attribute '{name}' "
                f"({', '.join(self.vocabulary[name])})"
            ) from None

    def _tensors(self, workers: int) -> dict[str, Tensor]:
        import torch

        images = torch.empty(self.count, 3, self.size, self.size, dtype=torch.uint8)
        shown: list[dict[str, str]] = []
        for block in self.blocks(spans_of(0, self.count), files=False, workers=workers):
            for picture in block.pictures:
                if len(picture) != 3 * self.size**2:
                    raise DomtransError(f"{self.about or 'a drawing'} is not uint8 [{self.size}, {self.size}, 3]")
            pixels = np.frombuffer(b"".join(block.pictures), np.uint8).reshape(-1, self.size, self.size, 3)
            images[len(shown) : len(shown) + len(pixels)] = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
            shown += block.attributes
        index = {f"attribute.{name}": torch.tensor([self.number(name, one) for one in shown]) for name in self.vocabulary}
        return {"images": images, **index}


class DrawnDomain:
    """A domain whose pictures are drawn; decorates a function (split, size, *, options) that gives a DrawnSet.

    As a domain it gives the images, drawn and kept; ``drawn`` gives the set, for ``domtrans make`` to write as many as wanted.
    """

    __name__: str
    __qualname__: str

    def __init__(self, drawn: Callable[..., DrawnSet]) -> None:
        self.drawn = drawn
        update_wrapper(self, drawn)  # its options and their help are read off it

    def __call__(self, split: str, size: int, **options: Any) -> ImageSet:
        """The images of a split."""
        return self.drawn(split, size, **options).load()

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, as a function is


def spans_of(first: int, last: int) -> Iterator[Span]:
    """The numbers from ``first`` to ``last`` - 1 in spans of ``BLOCK``."""
    return ((at, min(at + BLOCK, last)) for at in range(first, last, BLOCK))


def by_processes(what: Mapping[str, Any], spans: Iterable[Span], *, files: bool, workers: int) -> Generator[Block, None, None]:
    """Blocks in order, drawn by processes of ``domtrans.data.render_worker``; a thread waits at the pipe of each."""
    processes: list[subprocess.Popen[bytes]] = []
    idle: list[subprocess.Popen[bytes]] = []

    def ask(span: Span) -> Block:
        process = idle.pop()
        try:
            return exchange(process, {"first": span[0], "end": span[1], "files": files})
        finally:
            idle.append(process)

    coming: deque[Future[Block]] = deque()
    try:
        for _ in range(workers):
            processes.append(start("domtrans.data.render_worker"))
            send(processes[-1], what)
        idle += processes
        with ThreadPoolExecutor(workers, "domtrans-drawing") as threads:
            try:
                for span in spans:
                    coming.append(threads.submit(ask, span))
                    if len(coming) > 2 * workers:  # a slow reader must not make drawings pile up
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            finally:
                for future in coming:
                    future.cancel()
    finally:
        for process in processes:
            end(process)


def send(process: subprocess.Popen[bytes], line: Mapping[str, Any]) -> None:
    """One line of JSON."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(line).encode() + b"\n")
    process.stdin.flush()


def exchange(process: subprocess.Popen[bytes], request: Mapping[str, Any]) -> Block:
    """A request and its answer; DomtransError if the drawing raised it, or if the process is no more."""
    assert process.stdout is not None
    try:
        send(process, request)
        answer = json.loads(process.stdout.readline())
        if "fault" in answer:
            raise DomtransError(answer["fault"])
        return Block([process.stdout.read(length) for length in answer["lengths"]], answer["attributes"])
    except (BrokenPipeError, ValueError):
        code = process.wait()
        raise DomtransError(
            f"a process that draws ended with exit code {code}; unless it says more above, memory may be short: use fewer"
        ) from None
