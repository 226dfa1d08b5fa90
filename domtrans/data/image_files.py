"""Reading and writing image files: any Pillow mode and size, to uint8 pixels and back.

Torch is imported inside the functions that make tensors, so that decode processes start without it, in a tenth of the memory.
"""

from __future__ import annotations

import errno
import io
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from domtrans.data.image_formats import (
    ALPHA_FORMATS,
    HEIF_SUFFIXES,
    READABLE_FORMATS,
    SAVE_OPTIONS,
    UNSUPPORTED_SUFFIXES,
    image_suffixes,
)
from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from torch import Tensor

SYSTEM_NAMES = {
    *("@eadir", "@recycle", "@tmp", "#recycle", "#snapshot"),  # file servers
    *("$recycle.bin", "system volume information", "desktop.ini", "thumbs.db", "ehthumbs.db"),  # Windows
    *("__macosx", "icon\r"),
    "lost+found",
}
"""Files and folders that operating systems and file servers create, in lower case."""

PLURALS = {
    "not an image": "not images",
    "a regular file": "regular files",
    "that leads back": "that lead back",
    "link to a folder": "links to folders",
    "broken link": "broken links",
    "link that": "links that",
    "unreadable folder": "unreadable folders",
    "needs the": "need the",
    "that is read": "that are read",
}
"""How the reasons of several skipped files differ from those of one."""


def read_image(path: Path) -> Image.Image:
    """An image file, decoded and rotated as its EXIF data says, as RGB or grey. Of an animation, the first frame.

    Raises:
        DomtransError: If the file is missing, truncated, not an image, or a decompression bomb.
    """
    return decode_image(path, str(path))


def decode_image(file: Path | BinaryIO, name: str) -> Image.Image:
    """Decode an image file or encoded bytes, rotated as the EXIF data says, as RGB or grey.

    Args:
        file: A path, or a binary stream of the encoded image. Of an animation, the first frame is decoded.
        name: What error messages call it.

    Raises:
        DomtransError: If the file is missing, truncated, not an image, or a decompression bomb.
    """
    with silence_pillow_warnings(), image_errors(name), open_image(file) as image:
        image.load()
        return flatten(image)


decode_picture = decode_image
"""The old name of ``decode_image``."""


@contextmanager
def silence_pillow_warnings() -> Iterator[None]:
    """Hide Pillow's warnings about odd files. The setting holds for all threads, so enter this before starting threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ``open_image`` raises an error for these
        yield


@contextmanager
def image_errors(name: str) -> Iterator[None]:
    """Turn every error of opening or decoding an image into a DomtransError about the file ``name``."""
    try:
        yield
    except DomtransError:
        raise
    except FileNotFoundError:
        raise DomtransError(f"there is no file {name}") from None
    except Image.DecompressionBombError:
        raise DomtransError(f"{name} has too many pixels to be read safely (limit {Image.MAX_IMAGE_PIXELS:,})") from None
    except UnidentifiedImageError:
        raise DomtransError(f"{name} is not an image that can be read") from None
    except Exception as error:  # noqa: BLE001 - damaged files make Pillow raise almost anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DomtransError(f"{name} cannot be read: {reason}") from None


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Open an image without decoding it, as a context manager inside ``silence_pillow_warnings`` and ``image_errors``."""
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise OSError("it is not a regular file")  # opening a pipe would block
    with ExitStack() as close_on_error:
        image = close_on_error.enter_context(Image.open(file, formats=READABLE_FORMATS))
        check_pixel_count(image.width, image.height)
        close_on_error.pop_all()
    return image


def check_pixel_count(width: int, height: int) -> None:
    """Raise DecompressionBombError above Pillow's limit, where Pillow itself only warns."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError


def apply_exif_rotation(image: Image.Image) -> Image.Image:
    """The image rotated as its EXIF data says."""
    with suppress(Exception):  # damaged EXIF data can raise anything; the pixels are still valid
        return ImageOps.exif_transpose(image)
    return image


def alpha_channel(image: Image.Image) -> Image.Image | None:
    """The alpha channel in mode "L", or None if the image has none."""
    image = to_rgba_if_transparent(image)
    return image.getchannel("A") if image.mode == "RGBA" else None


def to_rgba_if_transparent(image: Image.Image) -> Image.Image:
    """An image with transparency of any kind as "RGBA"; other images unchanged."""
    if not image.has_transparency_data or image.mode.startswith(("I", "F")):
        return image
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")  # Pillow converts "La" only to "LA"


def flatten(image: Image.Image) -> Image.Image:
    """Any mode to "L" or "RGB": EXIF rotation applied, transparency over white, 16 bits and floats scaled to 8 bits."""
    return flatten_upright(apply_exif_rotation(image))


def flatten_upright(image: Image.Image) -> Image.Image:
    """``flatten`` for an image whose EXIF rotation has been applied."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.array(image, dtype=np.float32)  # all further steps work in place: the image may be large
        finite = values[np.isfinite(values)] if image.mode == "F" else values.ravel()
        ends = (0.0, 65535.0) if image.mode.startswith("I;16") else (finite.min(initial=np.inf), finite.max(initial=-np.inf))
        low, high = map(float, ends) if finite.size else (0.0, 0.0)
        np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
        values -= low
        values *= 255 / max(high - low, 1e-9)
        return Image.fromarray(values.round().astype(np.uint8))
    image = to_rgba_if_transparent(image)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def from_pil(image: Image.Image, size: int, channels: int = 3) -> Tensor:
    """The centre square of an image, resized: uint8 [channels, size, size]. Raises DomtransError for an empty image."""
    import torch

    return torch.from_numpy(square_array(image, size, channels))


def square_array(image: Image.Image, size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """``from_pil`` as a numpy array."""
    return flat_square_array(flatten(image), size, channels)


def flat_square_array(image: Image.Image, size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """``square_array`` of an image that ``flatten`` returned."""
    if 0 in image.size:
        raise DomtransError(f"an image of {image.width} x {image.height} pixels is empty")
    image = image.convert("RGB" if channels == 3 else "L")
    pixels = np.array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels[None]


def to_pil(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 1 or 3, H, W] to PIL images of mode "L" or "RGB"."""
    arrays = images.cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays]


def encode_image(image: Image.Image, format_name: str, name: str, **options: Any) -> bytes:
    """The bytes of an image file. Alpha is dropped if the format has none.

    Args:
        image: Any mode that the format can hold.
        format_name: Pillow's name, as ``image_format`` returns it.
        name: What error messages call the file.
        options: For ``Image.save``.

    Raises:
        DomtransError: If the format cannot hold the image.
    """
    if image.mode in ("LA", "RGBA") and format_name not in ALPHA_FORMATS:
        image = image.convert(image.mode[:-1])
    file = io.BytesIO()
    try:
        image.save(file, format_name, **SAVE_OPTIONS.get(format_name, {}), **options)
    except (OSError, ValueError) as error:
        raise DomtransError(f"{name} cannot be written: {error}") from None
    return file.getvalue()


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that a scan passed over.

    Attributes:
        path: The file, or the folder with all that is in it.
        reason: A short noun phrase, such as "not an image (.txt)".
        quiet: Whether nobody expects it to be read: files of the operating system and hidden files.
        expected: Whether a user would expect it to be read: an image in a format that is not supported, a broken link, an
            unreadable folder.
    """

    path: Path
    reason: str
    quiet: bool = False
    expected: bool = False


@dataclass(frozen=True)
class ImageScan:
    """What is under a folder. Every file is an image, or is skipped by itself or with its folder.

    Attributes:
        images: The image files, sorted by path.
        skipped: Everything else, sorted by path.
    """

    images: list[Path]
    skipped: list[SkippedFile]

    @property
    def note(self) -> str:
        """One sentence about the skipped files, such as "3 files were skipped: 2 not images (.txt), 1 broken link".

        Empty if there are none but quiet ones.
        """
        return describe_skipped(self.skipped)


def scan_images(folder: Path, suffixes: Collection[str] | None = None) -> ImageScan:
    """All files under a folder, as images and as skipped files with reasons.

    Links to folders are followed, and each real folder is read once. Hidden files, files of the operating system, and
    everything that is not a regular file (pipes, devices, broken links) are skipped.

    Args:
        folder: Searched with all its subfolders.
        suffixes: File name suffixes of images, in lower case and with the dot; None: ``image_suffixes()``.
    """
    images: list[Path] = []
    skipped: list[SkippedFile] = []
    for item in walk_images(folder, suffixes):
        if isinstance(item, SkippedFile):
            skipped.append(item)
        else:
            images.append(item)
    return ImageScan(sorted(images), sorted(skipped, key=lambda file: file.path))


def walk_images(folder: Path, suffixes: Collection[str] | None = None) -> Iterator[Path | SkippedFile]:
    """``scan_images`` as an iterator, folder by folder, which holds one folder's names in memory."""
    accepted = image_suffixes() if suffixes is None else suffixes
    root = os.path.realpath(folder)
    walked: set[tuple[int, int]] = set()
    links: list[Path] = []
    yield from _walk(folder, accepted, walked, links)
    for link in links:  # grows while it is read; last, so that a real folder is found under its own name
        target, parent = os.path.realpath(link), os.path.realpath(link.parent)
        if any(os.path.join(place, "").startswith(os.path.join(target, "")) for place in (root, parent)):  # noqa: PTH118
            yield SkippedFile(link, "link that leads back")
        else:
            yield from _walk(link, accepted, walked, links)


def describe_skipped(skipped: Iterable[SkippedFile]) -> str:
    """One sentence that counts skipped files by reason, most frequent first, without the quiet ones; "" if none is left."""
    counts = Counter(file.reason for file in skipped if not file.quiet)
    if not counts:
        return ""
    total = counts.total()
    reasons = ", ".join(f"{count:,} {reason if count == 1 else _plural(reason)}" for reason, count in counts.most_common())
    return f"{total:,} {'file was' if total == 1 else 'files were'} skipped: {reasons}"


def _plural(reason: str) -> str:
    for one, many in PLURALS.items():
        reason = reason.replace(one, many)
    return reason


def find_images(folder: Path, suffixes: Collection[str] | None = None) -> list[Path]:
    """All image files under a folder, sorted by path: the ``images`` of ``scan_images``.

    Args:
        folder: Searched with all its subfolders.
        suffixes: File name suffixes to accept, in lower case and with the dot; None: those of all readable formats.
    """
    return scan_images(folder, suffixes).images


def find_pictures(folder: Path, endings: Collection[str] | None = None) -> list[Path]:
    """The old name of ``find_images``."""
    return find_images(folder, endings)


def _walk(
    folder: Path, suffixes: Collection[str], walked: set[tuple[int, int]], links: list[Path]
) -> Iterator[Path | SkippedFile]:
    """The files under a folder that was not walked yet. Links to folders are appended to ``links``."""
    pending = [folder]
    while pending:
        place = pending.pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in walked:
                yield SkippedFile(place, "link to a folder that is read already")
                continue
            walked.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            yield SkippedFile(place, "unreadable folder", expected=True)
            continue
        folders: list[Path] = []
        for entry in entries:
            path = place / entry.name
            if entry.name.lower() in SYSTEM_NAMES:
                yield SkippedFile(path, f"system {'folder' if path.is_dir() else 'file'} {entry.name.strip()}", quiet=True)
            elif entry.name.startswith("."):
                yield SkippedFile(path, "hidden folder" if _is_folder(entry) else "hidden file", quiet=True)
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            else:
                yield _why_no_image(entry, suffixes) or path
        pending += reversed(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112 - never raises


def _why_no_image(entry: os.DirEntry[str], suffixes: Collection[str]) -> SkippedFile | None:
    """What a file that is no image is reported as; None for an image."""
    path, suffix = Path(entry.path), os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - faster than Path.suffix
    if os.path.isfile(path) if entry.is_symlink() else entry.is_file():  # noqa: PTH113 - never raises
        if suffix in suffixes:
            return None
        if suffix in HEIF_SUFFIXES:
            return SkippedFile(path, f"needs the extra heif ({suffix})", expected=True)
        if suffix in UNSUPPORTED_SUFFIXES:
            return SkippedFile(path, f"unsupported image format ({suffix})", expected=True)
        return SkippedFile(path, f"not an image ({suffix or 'no suffix'})")
    try:
        path.stat()
    except OSError as error:
        loop = error.errno == errno.ELOOP
        return SkippedFile(path, "link that leads back" if loop else "broken link", expected=not loop and suffix in suffixes)
    return SkippedFile(path, "not a regular file")


def read_images(paths: Sequence[Path], size: int, channels: int = 3) -> Tensor:
    """Read image files: their centre squares, resized.

    Args:
        paths: Image files.
        size: Side of the result in pixels.
        channels: 1 (grey) or 3 (RGB).

    Returns:
        uint8 [N, channels, size, size].

    Raises:
        DomtransError: If a file cannot be read; the message names the first such file.
    """
    import torch

    return torch.stack([from_pil(read_image(path), size, channels) for path in paths])


read_pictures = read_images
"""The old name of ``read_images``."""
