"""Image sets that are rendered instead of read: into memory here, into files by ``shard_writer.py``.

Torch is imported inside the functions that make tensors, because render processes import this module and do without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from domtrans.data.engine import DrawingEngine
from domtrans.data.render_worker import Block, RenderFunction, render_block
from domtrans.data.worker_process import WorkerPool, receive_bytes, receive_message
from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from torch import Tensor

    from domtrans.data.image_set import ImageSet
    from domtrans.storage.cache import Cache

BLOCK_IMAGES = 100
"""Images that a process renders per request."""

MIN_IMAGES_PER_WORKER = 1000
"""Images that make another process worth its start."""

Span = tuple[int, int]
"""A range of image numbers: the first, and one after the last."""


@dataclass(frozen=True, eq=False)
class RenderedSet:
    """Images that are rendered one by one, any number of them.

    An image and its attribute values depend on its number and the options alone, so any process can render any part of the set.

    Args:
        draw: ``draw(numbers, **options)``, a function at the top level of a module. It yields ``(image, attributes)`` for each
            number of a range: uint8 [size, size, 3] or the bytes of a PNG file, and the attribute values by name. Attributes
            that the image does not show are left out. With an engine, it yields ``(image, attributes, parameters)``.
        options: Plain values, as JSON has them.
        size: Side of the images in pixels.
        count: Images in the set.
        vocabulary: The attributes and their values.
        about: One line for people.
        depends: Anything else that the images depend on, such as versions of libraries. A change makes the cache render the set
            again.
        engine: What draws the images from parameters, or None.
    """

    draw: RenderFunction
    options: Mapping[str, Any]
    size: int
    count: int
    vocabulary: Mapping[str, tuple[str, ...]]
    about: str = ""
    depends: Mapping[str, Any] = field(default_factory=dict)
    engine: DrawingEngine | None = None

    @property
    def key(self) -> dict[str, Any]:
        """Plain values that determine image ``i``."""
        function = f"{self.draw.__module__}.{self.draw.__qualname__}"
        vocabulary = {name: list(values) for name, values in self.vocabulary.items()}
        return {"draw": function, "size": self.size, "vocabulary": vocabulary, **self.options, **self.depends}

    def load(self, cache: Cache | None = None, workers: int | None = None) -> ImageSet:
        """Render the whole set into memory, or take it from the cache.

        Args:
            cache: Where the set is stored.
            workers: Processes that render. None means one per core, fewer for a small set.

        Raises:
            DomtransError: If an image has another size, or an attribute value or a parameter is not in the vocabulary.
        """
        from domtrans.data.image_set import Attribute, ImageSet
        from domtrans.storage.cache import Cache

        workers = min(os.cpu_count() or 1, self.count // MIN_IMAGES_PER_WORKER) if workers is None else workers
        # The cache kind "drawn" and the key "draw" keep their old names, so that cached sets stay valid.
        key = {**self.key, "count": self.count}
        key |= {} if self.engine is None else {"parameters": self.engine.space.json_schema()["properties"]}
        tensors = (cache or Cache()).tensors("drawn", key, partial(self._tensors, workers))
        attributes = {name: Attribute(tuple(values), tensors[f"attribute.{name}"]) for name, values in self.vocabulary.items()}
        return ImageSet(
            tensors["images"],
            about=self.about,
            attributes=attributes,
            engine=self.engine,
            parameters=tensors.get("parameters"),
        )

    def blocks(self, spans: Iterable[Span], *, files: bool, workers: int) -> Generator[Block, None, None]:
        """Render the images of every span, in order, with ``workers`` processes. ``files``: see ``render_block``."""
        module, function = self.draw.__module__, self.draw.__qualname__
        importable = module != "__main__" and "." not in function  # else a new process could not find it
        if workers > 1 and importable:
            setup = {"module": module, "function": function, "options": dict(self.options)}
            return render_in_processes(setup, spans, files=files, workers=workers)
        render = partial(self.draw, **self.options)
        return (render_block(render, *span, files=files) for span in spans)

    def value_index(self, name: str, attributes: Mapping[str, str]) -> int:
        """The index of an image's attribute value in the vocabulary, or -1 if the image does not show the attribute."""
        if name not in attributes:
            return -1
        try:
            return self.vocabulary[name].index(attributes[name])
        except ValueError:
            raise DomtransError(
                f"{self.about or 'a rendered set'}: '{attributes[name]}' is not a value of the attribute '{name}' "
                f"({', '.join(self.vocabulary[name])})"
            ) from None

    def _tensors(self, workers: int) -> dict[str, Tensor]:
        import torch

        images = torch.empty(self.count, 3, self.size, self.size, dtype=torch.uint8)
        attributes: list[dict[str, str]] = []
        parameters: list[list[int]] = []
        for block in self.blocks(split_into_spans(0, self.count), files=False, workers=workers):
            if any(len(image) != 3 * self.size**2 for image in block.images):
                raise DomtransError(f"an image of {self.about or 'a rendered set'} is not uint8 [{self.size}, {self.size}, 3]")
            pixels = np.frombuffer(b"".join(block.images), np.uint8).reshape(-1, self.size, self.size, 3)
            images[len(attributes) : len(attributes) + len(pixels)] = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
            attributes += block.attributes
            parameters += self._parameter_indices(block)
        indices = {
            f"attribute.{name}": torch.tensor([self.value_index(name, values) for values in attributes])
            for name in self.vocabulary
        }
        if self.engine is not None:
            indices["parameters"] = torch.tensor(parameters)
        return {"images": images, **indices}

    def _parameter_indices(self, block: Block) -> list[list[int]]:
        """The indices of the parameters of every image that an engine drew, -1 for those that do not show."""
        if self.engine is None:
            return []
        if len(block.parameters) != len(block.images):
            raise DomtransError(f"{self.about or 'a rendered set'} has an engine, but its images come without parameters")
        space = self.engine.space
        return [space.shown_indices(space.check(parameters)) for parameters in block.parameters]


DrawnSet = RenderedSet
"""The old name of ``RenderedSet``."""


class RenderedDomain:
    """A domain of rendered images: a decorator for a function ``(split, size, *, options)`` that returns a RenderedSet.

    Called as a domain, it renders the images into memory. ``rendered`` returns the set itself, from which ``domtrans make``
    writes any number of images.
    """

    __name__: str
    __qualname__: str

    def __init__(self, rendered: Callable[..., RenderedSet]) -> None:
        self.rendered = rendered
        update_wrapper(self, rendered)  # the registry reads the options and their help from the signature

    def __call__(self, split: str, size: int, **options: Any) -> ImageSet:
        """The images of a split."""
        return self.rendered(split, size, **options).load()

    def engine(self, **options: Any) -> DrawingEngine | None:
        """What draws the images with these options, or None. No image is rendered."""
        return self.rendered("train", 1, **options).engine

    @property
    def drawn(self) -> Callable[..., RenderedSet]:
        """The old name of ``rendered``."""
        return self.rendered

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, like a function


DrawnDomain = RenderedDomain
"""The old name of ``RenderedDomain``."""


def split_into_spans(first: int, end: int) -> Iterator[Span]:
    """The numbers ``first`` to ``end`` - 1 in spans of ``BLOCK_IMAGES``."""
    return ((start, min(start + BLOCK_IMAGES, end)) for start in range(first, end, BLOCK_IMAGES))


def render_in_processes(
    setup: Mapping[str, Any], spans: Iterable[Span], *, files: bool, workers: int
) -> Generator[Block, None, None]:
    """Blocks in order, rendered by processes of ``render_worker``."""
    advice = "see its error above; without one, memory may be short: use fewer workers"
    requests = ({"first": first, "end": end, "files": files} for first, end in spans)
    with closing(WorkerPool("domtrans.data.render_worker", workers, task="render", advice=advice, setup=setup)) as pool:
        yield from pool.map(requests, receive_block)


def receive_block(pipe: BinaryIO) -> Block:
    """The response of ``render_worker``. Raises DomtransError if rendering did."""
    header = receive_message(pipe)
    if "error" in header:
        raise DomtransError(header["error"])
    images = [receive_bytes(pipe, length) for length in header["lengths"]]
    return Block(images, header["attributes"], header["parameters"])
