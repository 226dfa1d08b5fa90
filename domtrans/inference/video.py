"""Animations and videos, frame by frame: GIF, APNG, WebP and AVIF with Pillow, videos with PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import Image, ImageSequence

from domtrans.data.image_files import encode_image, image_errors, open_image, writable_mode
from domtrans.data.pages import ANIMATED_FORMATS
from domtrans.data.pixel_limit import check_pixel_count
from domtrans.errors import DomtransError
from domtrans.inference.output_mark import MARK, mark_options
from domtrans.optional import require_extra

VIDEO_FORMATS = {
    ".mp4": ("mov", "mp4", "libx264"),
    ".m4v": ("mov", "mp4", "libx264"),
    ".mov": ("mov", "mov", "libx264"),
    ".mkv": ("matroska", "matroska", "libx264"),
    ".webm": ("matroska", "webm", "libvpx-vp9"),
}
"""By suffix: FFmpeg's demuxer, its muxer and its encoder. The suffix alone chooses the demuxer: a playlist that is named like
a video could otherwise make FFmpeg open other files."""

TICKS_PER_SECOND = 90_000
"""Resolution of a frame's timestamp."""

DEFAULT_FRAME_SECONDS = 0.1
"""Duration of a frame without one. Browsers use the same value."""

TimedFrame = tuple[Image.Image, float]
"""A frame and its duration in seconds."""


@dataclass(frozen=True)
class Clip:
    """The frames of an animation or a video.

    Attributes:
        frames: The frames, decoded one at a time.
        count: How many there are; 0 if unknown.
        loop: How often an animation repeats, as in Pillow (0: forever); None: it plays once.
    """

    frames: Iterator[TimedFrame]
    count: int = 0
    loop: int | None = None


def is_animated(image: Image.Image) -> bool:
    """Whether an image that Pillow has opened is an animation."""
    return image.format in ANIMATED_FORMATS and bool(getattr(image, "is_animated", False))


@contextmanager
def open_clip(source: Path | BinaryIO, name: str) -> Iterator[Clip]:
    """Open a video or an animation. ``name`` is what the DomtransError of an unreadable file calls it."""
    is_video = isinstance(source, Path) and source.suffix.lower() in VIDEO_FORMATS
    with ExitStack() as stack:
        with image_errors(name):
            clip = _open_video(cast(Path, source), name, stack) if is_video else _open_animation(source, stack)
        yield replace(clip, frames=_convert_errors(clip.frames, name))


def encode_clip(frames: Iterator[TimedFrame], format_name: str, name: str, *, loop: int | None = None) -> bytes:
    """The bytes of an animation or a video.

    Args:
        frames: Frames of one size.
        format_name: One of ``ANIMATED_FORMATS``, or a suffix of ``VIDEO_FORMATS``.
        name: What errors call the file.
        loop: As in ``Clip``.

    Raises:
        DomtransError: If the format cannot hold the frames, or there are none.
    """
    first = next(frames, None)
    if first is None:
        raise DomtransError(f"{name} was not written: its input has no frames")
    frames = chain([first], frames)
    if format_name in VIDEO_FORMATS:
        return _encode_video(frames, first, format_name, name)
    return _encode_animation(frames, format_name, name, loop)


def has_video_mark(path: Path) -> bool:
    """Whether a file is a video that carries domtrans's mark."""
    try:
        with image_errors(str(path)), ExitStack() as stack:
            metadata = _open_container(path, str(path), stack).metadata
            return MARK in (metadata.get("comment"), metadata.get("COMMENT"))  # Matroska writes keys in capitals
    except DomtransError:
        return False


def _convert_errors(frames: Iterator[TimedFrame], name: str) -> Iterator[TimedFrame]:
    with image_errors(name):  # covers decoding only: errors of the code that uses the frames are raised there
        yield from frames


def _open_animation(source: Path | BinaryIO, stack: ExitStack) -> Clip:
    image = stack.enter_context(open_image(source))
    frames = (
        (frame.copy(), float(frame.info.get("duration") or 0) / 1000 or DEFAULT_FRAME_SECONDS)
        for frame in ImageSequence.Iterator(image)
    )
    return Clip(frames, getattr(image, "n_frames", 1), image.info.get("loop"))


def _encode_animation(frames: Iterable[TimedFrame], format_name: str, name: str, loop: int | None) -> bytes:
    images: list[Image.Image] = []
    durations: list[float] = []
    max_pixels = Image.MAX_IMAGE_PIXELS or 2**31
    for image, seconds in frames:
        images.append(writable_mode(image, format_name))
        durations.append(seconds)
        if len(images) * image.width * image.height > max_pixels:  # Pillow needs all frames in memory
            raise DomtransError(
                f"{name} would have too many frames for memory; write a video, such as .mp4, or use a smaller size"
            )
    options: dict[str, Any] = {"duration": [round(seconds * 1000) for seconds in durations], **mark_options(format_name)}
    if format_name in ("PNG", "WEBP") or (format_name == "GIF" and loop is not None):
        options["loop"] = 1 if loop is None else loop
    if format_name == "WEBP" and images[0].mode in ("LA", "RGBA"):
        options |= {"kmin": 1, "kmax": 1}  # libwebp may drop the alpha channel of frames that are stored as differences
    if format_name == "GIF":
        options["disposal"] = 2  # clear each frame, or it shows through the transparent parts of the next
    return encode_image(images[0], format_name, name, save_all=True, append_images=images[1:], **options)


def _open_container(path: Path, name: str, stack: ExitStack) -> Any:
    """The file opened with PyAV, with the demuxer that its suffix names."""
    av = require_extra("av", "video", f"the video {name}")
    if path.exists() and not path.is_file():
        raise OSError("it is not a regular file")
    file = stack.enter_context(path.open("rb"))
    return stack.enter_context(av.open(file, format=VIDEO_FORMATS[path.suffix.lower()][0]))


def _open_video(path: Path, name: str, stack: ExitStack) -> Clip:
    container = _open_container(path, name, stack)
    if not container.streams.video:
        raise DomtransError(f"{name} has no video stream")
    stream = container.streams.video[0]
    check_pixel_count(stream.width, stream.height)
    stream.thread_type = "AUTO"
    starts = ((_upright_image(frame), frame.time) for frame in container.decode(stream))
    usual = float(1 / stream.average_rate) if stream.average_rate else DEFAULT_FRAME_SECONDS
    return Clip(_with_durations(starts, usual), stream.frames)


def _upright_image(frame: Any) -> Image.Image:
    """A frame as an image. Phones store the rotation as metadata instead of rotating the frames; apply it."""
    image: Image.Image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _with_durations(starts: Iterator[tuple[Image.Image, float | None]], usual: float) -> Iterator[TimedFrame]:
    """Frames with start times to frames with durations; ``usual`` where the next start is unknown, as after the last."""
    for (image, start), (_, end) in pairwise(chain(starts, [(Image.new("L", (1, 1)), None)])):
        known = start is not None and end is not None and end > start
        yield image, end - start if known else usual  # type: ignore[operator]


def _encode_video(frames: Iterable[TimedFrame], first: TimedFrame, suffix: str, name: str) -> bytes:
    av = require_extra("av", "video", f"the video {name}")
    (width, height), seconds = first[0].size, first[1]
    if width % 2 or height % 2:
        raise DomtransError(f"{name} would be {width} x {height} pixels, but a video needs even numbers; choose another size")
    _, muxer, codec = VIDEO_FORMATS[suffix]
    file, ticks = io.BytesIO(), 0.0
    try:
        with av.open(file, "w", format=muxer) as container:
            container.metadata["comment"] = MARK
            stream = container.add_stream(codec, rate=Fraction(1 / seconds).limit_denominator(1001), options={"crf": "18"})
            stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image, seconds in frames:
                frame = av.VideoFrame.from_image(image.convert("RGB"))
                frame.pts, frame.time_base = round(ticks), Fraction(1, TICKS_PER_SECOND)
                ticks += seconds * TICKS_PER_SECOND
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise DomtransError(f"{name} cannot be written as a video: {error}") from None
    return file.getvalue()
