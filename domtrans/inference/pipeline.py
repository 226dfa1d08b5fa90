"""The pipeline of a transfer: threads decode and encode files while the network computes the batch between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from domtrans.compute.memory import enough_memory
from domtrans.data.image_files import encode_image, image_errors, open_image
from domtrans.data.pages import Pages, find_pages
from domtrans.data.pixels import flatten
from domtrans.errors import DomtransError
from domtrans.inference.contact_sheet import ContactSheet, encode_pairs
from domtrans.inference.framing import FramedImage, Framing
from domtrans.inference.jobs import Job
from domtrans.inference.options import TransferOptions
from domtrans.inference.output_files import check_replaceable, write_output
from domtrans.inference.output_mark import mark_options, marked_svg
from domtrans.inference.output_names import SVG
from domtrans.inference.outputs import DrawnOutput, Network, Output
from domtrans.inference.video import VIDEO_FORMATS, TimedFrame, encode_clip, is_animated, open_clip

Input = TypeVar("Input")
Result = TypeVar("Result")

KEPT_SIDE = 4096
"""Side for which outputs that keep the size of their input are assumed to need memory, in pixels."""

Detector = Callable[[Image.Image, int], Sequence[Image.Image]]
"""A built detector: an RGB image and a size to square RGB crops of that size."""


@dataclass(frozen=True)
class DecodedInput:
    """A decoded input: one image, or one per crop. Empty for animations and videos (transferred later) and after an error."""

    position: int
    job: Job
    images: tuple[FramedImage, ...] = ()
    is_clip: bool = False
    error: str = ""
    pages: Pages | None = None
    """The pages or frames of the file, if only the first is transferred."""


@dataclass(frozen=True)
class JobResult:
    """The files that the job at ``position`` wrote, or why it failed."""

    position: int
    job: Job
    written: tuple[Path, ...] = ()
    error: str = ""
    pages: Pages | None = None
    """The pages or frames of the input, if only the first was transferred."""


@dataclass(frozen=True)
class Pipeline:
    """Files through the network.

    Attributes:
        network: G.
        detector: Crops the images; None: whole images are transferred.
        pool: Threads that decode and encode.
        sheet: Collects the pairs of the contact sheet.
        on_frames: Called with the number of frames of a clip that are done, and of all its frames. It may raise.
    """

    network: Network
    framing: Framing
    detector: Detector | None
    options: TransferOptions
    pool: Executor
    sheet: ContactSheet
    on_frames: Callable[[int, int], None]

    @property
    def batch_size(self) -> int:
        """Images per batch; fewer where the outputs are very large."""
        return self.options.batch_size_for(self.framing.output_size or KEPT_SIDE)

    def run(self, jobs: Sequence[Job]) -> Iterator[JobResult]:
        """Results of images in order, then those of animations and videos. Raises DomtransError if a file cannot be written."""
        clips = []
        decoded = map_ahead(self.pool, self._decode, enumerate(jobs), 2 * self.batch_size)
        for item, result in map_ahead(self.pool, self._save, self._transfer(decoded), 2 * self.batch_size):
            if item.is_clip:
                clips.append(item)
            else:
                yield result
        for item in clips:
            yield self._transfer_clip(item.position, item.job)

    def _decode(self, numbered_job: tuple[int, Job]) -> DecodedInput:
        position, job = numbered_job
        try:
            if job.is_video:
                return DecodedInput(position, job, is_clip=True)
            with image_errors(job.name), open_image(job.source) as image:
                if self.detector is None and is_animated(image) and job.can_hold_frames:
                    return DecodedInput(position, job, is_clip=True)
                if job.format_name in VIDEO_FORMATS:
                    raise DomtransError(f"{job.name} is not animated and cannot become a video; write .png or .jpg")
                image.load()
                images = [image] if self.detector is None else self._crop(self.detector, image, job)
                framed = tuple(map(self.framing.frame, images))
                return DecodedInput(position, job, framed, pages=find_pages(image))
        except DomtransError as error:
            return DecodedInput(position, job, error=str(error))

    def _crop(self, detector: Detector, image: Image.Image, job: Job) -> Sequence[Image.Image]:
        crops = detector(flatten(image).convert("RGB"), max(self.framing.network_size, self.framing.output_size or 0))
        if not crops:
            raise DomtransError(f"the detector '{self.options.crop}' found nothing in {job.name}")
        return crops

    def _transfer(self, decoded: Iterable[DecodedInput]) -> Iterator[tuple[DecodedInput, list[Output]]]:
        for group in _groups(decoded, self.batch_size):
            outputs = self._run_network([framed for item in group for framed in item.images])
            for item in group:
                own, outputs = outputs[: len(item.images)], outputs[len(item.images) :]
                for framed, output in zip(item.images, own, strict=True):
                    self._add_to_sheet(item.position, framed, output)
                yield item, own

    def _add_to_sheet(self, position: int, framed: FramedImage, output: Output) -> None:
        if self.sheet.wants(position):
            self.sheet.add(position, framed.pixels, output.at_size(self.framing.network_size))

    def _run_network(self, images: Sequence[FramedImage]) -> list[Output]:
        """G of images."""
        if not images:
            return []
        batches = torch.from_numpy(np.stack([framed.pixels for framed in images])).split(self.batch_size)
        with enough_memory(f"{self.batch_size} images at a time", "choose a smaller batch size"):
            return [output for batch in batches for output in self.network(batch)]

    def _save(self, transferred: tuple[DecodedInput, list[Output]]) -> tuple[DecodedInput, JobResult]:
        item, outputs = transferred
        pairs, job = list(zip(item.images, outputs, strict=True)), item.job
        if self.detector is None or not pairs:
            written = [path for pair in pairs for path in self._write_output(job, *pair)]
            return item, JobResult(item.position, job, tuple(written), item.error, item.pages)
        try:
            crops = [job.crop(number) for number in range(1, len(pairs) + 1)]
            if not self.options.force:
                check_replaceable([path for crop in crops for path in crop.files])
        except DomtransError as error:
            return item, JobResult(item.position, job, error=str(error))
        written = [path for crop, pair in zip(crops, pairs, strict=True) for path in self._write_output(crop, *pair)]
        small = self.framing.network_size
        overview = encode_pairs([(framed.pixels, output.at_size(small)) for framed, output in pairs], job.format_name)
        written.append(write_output(job.target, overview))  # last, because --skip-existing takes it for all of the job
        return item, JobResult(item.position, job, tuple(written), pages=item.pages)

    def _write_output(self, job: Job, framed: FramedImage, output: Output) -> list[Path]:
        """Write an image, and its parameters if they are wanted. The image last: --skip-existing takes it for all."""
        parameters = []
        if job.parameters is not None and isinstance(output, DrawnOutput):
            parameters.append(write_output(job.parameters, output.drawing.to_json().encode()))
        return [write_output(job.target, self._encode(job, framed, output)), *parameters]

    def _encode(self, job: Job, framed: FramedImage, output: Output) -> bytes:
        if job.format_name == SVG and isinstance(output, DrawnOutput):
            return marked_svg(output.drawing.to_svg(self.options.size))
        image = self.framing.compose(output.at_size(framed.side), framed)
        return encode_image(image, job.format_name, str(job.target), **mark_options(job.format_name))

    def _transfer_clip(self, position: int, job: Job) -> JobResult:
        try:
            if self.detector is not None:
                raise DomtransError(f"{job.name} is a video; a detector crops single images only")
            if job.parameters is not None:
                raise DomtransError(f"{job.name} has many frames; parameters are written for single images only")
            if not job.can_hold_frames:
                raise DomtransError(f"{job.name} is a video; write a video, such as .mp4, or an animated .gif, .webp or .png")
            with open_clip(job.source, job.name) as clip:
                frames = self._transfer_frames(clip.frames, position, clip.count)
                content = encode_clip(frames, job.format_name, str(job.target), loop=clip.loop)
        except DomtransError as error:
            return JobResult(position, job, error=str(error))
        return JobResult(position, job, (write_output(job.target, content),))

    def _transfer_frames(self, frames: Iterator[TimedFrame], position: int, count: int) -> Iterator[TimedFrame]:
        """G of every frame. Only a few frames wait at full size, because those of a video may be large."""

        def frame(timed: TimedFrame) -> tuple[FramedImage, float]:
            return self.framing.frame(timed[0]), timed[1]

        framed_frames = map_ahead(self.pool, frame, frames, 2 * self.options.workers)
        done = 0
        while batch := list(islice(framed_frames, self.batch_size)):
            outputs = self._run_network([framed for framed, _ in batch])
            for (framed, seconds), output in zip(batch, outputs, strict=True):
                if not done:
                    self._add_to_sheet(position, framed, output)
                done += 1
                yield self.framing.compose(output.at_size(framed.side), framed), seconds
            self.on_frames(done, max(count, done))


def map_ahead(
    pool: Executor, function: Callable[[Input], Result], inputs: Iterable[Input], max_pending: int
) -> Iterator[Result]:
    """``function`` of every input, in order, computed ahead by the pool.

    Unlike ``Executor.map`` it takes at most ``max_pending`` inputs in advance, which bounds the memory.
    """
    pending: deque[Future[Result]] = deque()
    for item in inputs:
        pending.append(pool.submit(function, item))
        if len(pending) >= max_pending:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _groups(decoded: Iterable[DecodedInput], size: int) -> Iterator[list[DecodedInput]]:
    """Files in groups of at least ``size`` images, the last group smaller. A file without images counts as one image."""
    group: list[DecodedInput] = []
    images = 0
    for item in decoded:
        group.append(item)
        images += max(1, len(item.images))
        if images >= size:
            yield group
            group, images = [], 0
    if group:
        yield group
