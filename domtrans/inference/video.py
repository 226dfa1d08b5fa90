"""Pictures that move: GIF, APNG and WebP by Pillow, films by PyAV, one frame after the other."""

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

from domtrans.data.image_files import apply_exif_rotation, check_pixel_count, encode_image, image_errors, open_image
from domtrans.errors import DomtransError
from domtrans.optional import require_extra

ANIMATED = ("GIF", "PNG", "WEBP")
"""Pillow's formats in which a picture may move. TIFF has pages instead: of those the first counts."""

FILMS = {
    ".mp4": ("mov", "mp4", "libx264"),
    ".m4v": ("mov", "mp4", "libx264"),
    ".mov": ("mov", "mov", "libx264"),
    ".mkv": ("matroska", "matroska", "libx264"),
    ".webm": ("matroska", "webm", "libvpx-vp9"),
}
"""By the ending of a film: as what FFmpeg reads it, whatever it claims to be, for a playlist would lead to other files; and as
what and with which codec FFmpeg writes it."""

TICKS = 90_000
"""Times a second at which a frame of a film may begin."""

DEFAULT_SECONDS = 0.1
"""How long a frame stays that says nothing of it, as browsers have it."""

Timed = tuple[Image.Image, float]
"""A frame and how many seconds it stays."""


@dataclass(frozen=True)
class Clip:
    """A picture that moves. ``count``: of its frames, 0 if unknown. ``loop``: as Pillow says it; None: it plays once."""

    frames: Iterator[Timed]
    count: int = 0
    loop: int | None = None


def moves(image: Image.Image) -> bool:
    """Whether an image that Pillow has opened is an animation."""
    return image.format in ANIMATED and bool(getattr(image, "is_animated", False))


@contextmanager
def opened_clip(source: Path | BinaryIO, name: str) -> Iterator[Clip]:
    """A block with a film or an animation. Raises DomtransError, calling it ``name``, where it cannot be read."""
    film = isinstance(source, Path) and source.suffix.lower() in FILMS
    with ExitStack() as stack:
        with image_errors(name):
            clip = _film(cast(Path, source), name, stack) if film else _animation(source, stack)
        yield replace(clip, frames=_told(clip.frames, name))


def write_clip(frames: Iterator[Timed], kind: str, name: str, *, loop: int | None = None) -> bytes:
    """The bytes of an animation or film of frames of one size; ``kind``: a format of ANIMATED or an ending of FILMS.

    Raises DomtransError, calling it ``name``, for what the kind cannot hold, and if there are no frames.
    """
    first = next(frames, None)
    if first is None:
        raise DomtransError(f"{name} would have no pictures: there are none in what it is made from")
    whole = chain([first], frames)
    return _write_film(whole, first, kind, name) if kind in FILMS else _write_animation(whole, kind, name, loop)


def _told(frames: Iterator[Timed], name: str) -> Iterator[Timed]:
    with image_errors(name):  # of the frames alone: what is done with them meanwhile raises elsewhere
        yield from frames


def _animation(source: Path | BinaryIO, stack: ExitStack) -> Clip:
    image = stack.enter_context(open_image(source))
    frames = (
        (apply_exif_rotation(frame.copy()), float(frame.info.get("duration") or 0) / 1000 or DEFAULT_SECONDS)
        for frame in ImageSequence.Iterator(image)
    )
    return Clip(frames, getattr(image, "n_frames", 1), image.info.get("loop"))


def _write_animation(frames: Iterable[Timed], kind: str, name: str, loop: int | None) -> bytes:
    held: list[Image.Image] = []
    seconds: list[float] = []
    most = Image.MAX_IMAGE_PIXELS or 2**31
    for image, stays in frames:
        held.append(image)
        seconds.append(stays)
        if len(held) * image.width * image.height > most:  # Pillow puts an animation together in memory
            raise DomtransError(f"{name} has more frames than can be held at once; write a film, such as .mp4, or fewer pixels")
    times = {"duration": [round(stays * 1000) for stays in seconds]}
    turns = {} if kind == "GIF" and loop is None else {"loop": 1 if loop is None else loop}
    clearing = {"disposal": 2} if kind == "GIF" else {}  # or a frame would show through the holes of the next
    return encode_image(held[0], kind, name, save_all=True, append_images=held[1:], **times, **turns, **clearing)


def _film(path: Path, name: str, stack: ExitStack) -> Clip:
    av = require_extra("av", "video", f"the film {name}")
    if path.exists() and not path.is_file():
        raise OSError("it is no regular file")
    file = stack.enter_context(path.open("rb"))
    container = stack.enter_context(av.open(file, format=FILMS[path.suffix.lower()][0]))
    if not container.streams.video:
        raise DomtransError(f"{name} has no pictures in it, only sound or text")
    stream = container.streams.video[0]
    check_pixel_count(stream.width, stream.height)
    stream.thread_type = "AUTO"
    starts = ((_image(frame), frame.time) for frame in container.decode(stream))
    return Clip(_timed(starts, float(1 / stream.average_rate) if stream.average_rate else DEFAULT_SECONDS), stream.frames)


def _image(frame: Any) -> Image.Image:
    """A frame as it is to be looked at: a telephone held upright notes that, rather than turning every picture."""
    image: Image.Image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _timed(starts: Iterator[tuple[Image.Image, float | None]], usual: float) -> Iterator[Timed]:
    """When frames begin, to how long they stay; ``usual``: where that cannot be told, as of the last."""
    for (image, begins), (_, ends) in pairwise(chain(starts, [(Image.new("L", (1, 1)), None)])):
        known = begins is not None and ends is not None and ends > begins
        yield image, ends - begins if known else usual  # type: ignore[operator]


def _write_film(frames: Iterable[Timed], first: Timed, ending: str, name: str) -> bytes:
    av = require_extra("av", "video", f"the film {name}")
    (width, height), seconds = first[0].size, first[1]
    if width % 2 or height % 2:
        raise DomtransError(f"{name} would be {width} x {height} pixels, and a film needs even numbers; choose another size")
    _, container, codec = FILMS[ending]
    file, ticks = io.BytesIO(), 0.0
    try:
        with av.open(file, "w", format=container) as film:
            stream = film.add_stream(codec, rate=Fraction(1 / seconds).limit_denominator(1001), options={"crf": "18"})
            stream.codec_context.time_base = Fraction(1, TICKS)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image, seconds in frames:
                frame = av.VideoFrame.from_image(image.convert("RGB"))
                frame.pts, frame.time_base = round(ticks), Fraction(1, TICKS)
                ticks += seconds * TICKS
                film.mux(stream.encode(frame))
            film.mux(stream.encode())
    except av.FFmpegError as error:
        raise DomtransError(f"{name} cannot be written as a film: {error}") from None
    return file.getvalue()
