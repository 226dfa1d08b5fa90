"""Transfer pictures of any size in overlapping tiles, for a run whose feature maps keep the layout of an image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from domtrans.compute.memory import enough_memory
from domtrans.data.image_files import encode_image, image_errors, open_image
from domtrans.data.pages import Pages, find_pages
from domtrans.data.pixels import over_white, standardize
from domtrans.errors import DomtransError
from domtrans.inference.framing import Pixels
from domtrans.inference.jobs import Job
from domtrans.inference.options import TransferOptions
from domtrans.inference.output_files import write_output
from domtrans.inference.output_mark import mark_options
from domtrans.inference.outputs import Network, PixelOutput
from domtrans.inference.pipeline import JobResult
from domtrans.inference.video import VIDEO_FORMATS
from domtrans.runs.run import Run

OVERLAP = 0.5
"""Overlap of two neighbouring tiles, at least, as a share of their side."""


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut into overlapping squares of the network's size, and composed from their transfers.

    Where tiles overlap, they are blended with weights that fall linearly towards the border of a tile. A picture that is
    smaller than a tile is padded with its border pixels.

    Attributes:
        size: Side of a tile, in pixels.
    """

    size: int

    @classmethod
    def of(cls, run: Run) -> Tiling:
        """The tiling for a run. Raises DomtransError unless its g decodes feature maps."""
        if not run.generator.reads_maps:
            raise DomtransError(
                f"the run in {run.path} cannot transfer in tiles, because its f describes a whole image by one vector; leave "
                "out tiles, or train a run whose f gives feature maps (docs/layout.md)"
            )
        return cls(run.recipe.image_size)

    def transfer(self, pixels: Pixels, network: Callable[[Sequence[Pixels]], Sequence[Pixels]], batch_size: int) -> Pixels:
        """The transfer of a picture.

        Args:
            pixels: The picture, uint8 [3, H, W].
            network: Tiles, uint8 [3, S, S] each, to their transfers, uint8 [C, S, S] each.
            batch_size: Tiles that ``network`` gets at a time.

        Returns:
            uint8 [C, H, W].
        """
        height, width = pixels.shape[1:]
        padded = np.pad(pixels, [(0, 0), *((0, max(0, self.size - side)) for side in (height, width))], mode="edge")
        window, total, weights = self.window(), np.zeros(0), np.zeros(padded.shape[1:], np.float32)
        places = iter([(y, x) for y in self.starts(padded.shape[1]) for x in self.starts(padded.shape[2])])
        while batch := list(itertools.islice(places, batch_size)):
            areas = [(slice(y, y + self.size), slice(x, x + self.size)) for y, x in batch]
            for area, tile in zip(areas, network([padded[:, y, x] for y, x in areas]), strict=True):
                if not total.size:
                    total = np.zeros((len(tile), *padded.shape[1:]), np.float32)
                total[(slice(None), *area)] += window * tile
                weights[area] += window
        return np.rint(total / weights).astype(np.uint8)[:, :height, :width]

    def count(self, width: int, height: int) -> int:
        """The number of tiles of a picture."""
        return len(self.starts(width)) * len(self.starts(height))

    def window(self) -> npt.NDArray[np.float32]:
        """The weights of the pixels of a tile, [S, S]: 1 in the centre, almost 0 at the border."""
        position = np.arange(self.size) + 0.5
        line = np.minimum(position, self.size - position) / (self.size / 2)
        return np.outer(line, line).astype(np.float32)

    def starts(self, length: int) -> list[int]:
        """The first pixels of the tiles along a side, evenly spread."""
        step = round(self.size * (1 - OVERLAP))
        beyond = max(0, length - self.size)
        count = 1 + -(-beyond // step)
        return [number * beyond // max(1, count - 1) for number in range(count)]


@dataclass(frozen=True)
class TiledPipeline:
    """Files through the network, one picture after another, each in tiles.

    Attributes:
        network: G.
        on_tiles: Called with the number of tiles of a picture that are done, and of all its tiles. It may raise.
    """

    network: Network
    tiling: Tiling
    options: TransferOptions
    on_tiles: Callable[[int, int], None]

    def run(self, jobs: Sequence[Job]) -> Iterator[JobResult]:
        """The results in order. Raises DomtransError if a file cannot be written."""
        for position, job in enumerate(jobs):
            try:
                content, pages = self._transfer(job)
            except DomtransError as error:
                yield JobResult(position, job, error=str(error))
            else:
                yield JobResult(position, job, (write_output(job.target, content),), pages=pages)

    def _transfer(self, job: Job) -> tuple[bytes, Pages | None]:
        """The output file of a picture, and the pages of the input. Raises DomtransError if the input cannot be read."""
        if job.is_video or job.format_name in VIDEO_FORMATS:
            raise DomtransError(f"{job.name}: videos are not transferred in tiles; leave out tiles")
        with image_errors(job.name), open_image(job.source) as image:
            picture, pages = standardize(image), find_pages(image)
            pixels = np.asarray(over_white(picture).convert("RGB")).transpose(2, 0, 1)
        done, count = 0, self.tiling.count(picture.width, picture.height)

        def network(tiles: Sequence[Pixels]) -> list[Pixels]:
            nonlocal done
            with enough_memory(f"{len(tiles)} tiles at a time", "choose a smaller batch size"):
                outputs = self.network(torch.from_numpy(np.stack(tiles)))
            done += len(tiles)
            self.on_tiles(done, count)
            return [output.pixels for output in outputs if isinstance(output, PixelOutput)]

        made = self.tiling.transfer(pixels, network, self.options.batch_size_for(self.tiling.size))
        output = Image.fromarray(made[0] if len(made) == 1 else np.ascontiguousarray(made.transpose(1, 2, 0)))
        if picture.mode in ("LA", "RGBA"):
            output.putalpha(picture.getchannel("A"))
        marks: dict[str, Any] = mark_options(job.format_name)
        return encode_image(output, job.format_name, str(job.target), **marks), pages
