"""Draw files of parameters, as ``transfer`` writes them and people edit them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from domtrans.data.drawings import Drawing, read_drawing
from domtrans.data.image_files import encode_image
from domtrans.data.image_scan import SkippedFile, scan_images
from domtrans.errors import DomtransError
from domtrans.inference.options import Format, TransferOptions
from domtrans.inference.output_files import check_replaceable, write_output
from domtrans.inference.output_mark import mark_options, marked_svg
from domtrans.inference.output_names import SVG, output_format, output_names
from domtrans.inference.video import VIDEO_FORMATS
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.storage.address import check_local
from domtrans.storage.paths import expand_home

DEFAULT_SIZE = 512
"""Side of pictures in pixels. An SVG has no size of its own."""

PARAMETER_SUFFIX = ".json"


@dataclass(frozen=True)
class Rendered:
    """The result of ``render``, in the order of the inputs.

    Attributes:
        written: The files written.
        failed: The files that were not drawn, each with the reason.
        notes: Sentences about drawings that may look different, because another version of the engine wrote their parameters.
    """

    written: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()


def render(
    source: str | Path,
    destination: str | Path,
    *,
    size: int | None = None,
    format: Format | None = None,
    force: bool = False,
    registry: Registry | None = None,
) -> Rendered:
    """Draw a file of parameters, or all files of a folder, as ``transfer`` writes them with ``parameters``.

    A file that cannot be drawn is listed in ``failed``, if others of a folder can be. An existing picture is replaced only if
    domtrans wrote it.

    Args:
        source: A JSON file, or a folder of them.
        destination: A picture or an SVG for a single file; otherwise a folder.
        size: Side of the pictures in pixels; 512 by default. Of an SVG, its width and height.
        format: Of the pictures of a folder; "svg" by default. The format of a single file follows from its suffix.
        force: Replace existing files that domtrans did not write.
        registry: Where to find the engine; by default among the installed plugins.

    Returns:
        What was written, what failed, and notes.

    Raises:
        DomtransError: If there is nothing to draw, the only file cannot be drawn, or a file cannot be written.
    """
    check_local(destination, "a picture")
    TransferOptions(size=size, format=format)  # checks both
    registry = registry or load_plugins().registry
    source, destination = Path(expand_home(str(source))), Path(expand_home(str(destination)))
    targets, unread = _targets(source, destination, format)
    if not force:
        check_replaceable(targets.values())
    written, notes = list[Path](), list[str]()
    failed = [(file.path, f"{file.path}: {file.reason}") for file in unread]
    for file, target in targets.items():
        try:
            drawing = read_drawing(file, registry)
            content = _encode(drawing, target, size)
        except DomtransError as error:
            failed.append((file, str(error)))
            continue
        written.append(write_output(target, content))
        notes += [f"{file}: {drawing.note}"] if drawing.note else []
    if failed and not written:
        raise DomtransError(failed[0][1] + (f"; {len(failed) - 1} more files cannot be drawn" if len(failed) > 1 else ""))
    return Rendered(tuple(written), tuple(failed), tuple(notes))


def _targets(source: Path, destination: Path, format: Format | None) -> tuple[dict[Path, Path], list[SkippedFile]]:
    """The picture of each file of parameters, and what could not be read of a folder.

    Raises DomtransError if there is no file of parameters, or a format cannot be written.
    """
    suffix = f".{format or 'svg'}"
    if source.is_file():
        if destination.is_dir():
            return {source: destination / f"{source.stem}{suffix}"}, []
        if output_format(destination) in VIDEO_FORMATS:
            raise DomtransError(f"a drawing cannot become the video {destination}; write .svg or .png")
        if format is not None and output_format(destination) != output_format(Path(f"picture{suffix}")):
            raise DomtransError(f"the suffix of {destination} is not that of the format {format}; leave one of them out")
        return {source: destination}, []
    if not source.is_dir():
        raise DomtransError(f"there is no file or folder {source}")
    found = scan_images(source, {PARAMETER_SUFFIX})
    unread = [file for file in found.skipped if file.expected]
    if not found.images:
        missing = f"there are no files of parameters ({PARAMETER_SUFFIX}) in {source}"
        raise DomtransError("; ".join([missing, *(f"{file.path}: {file.reason}" for file in unread)]))
    if destination.is_file() or (destination.suffix and not destination.exists()):
        raise DomtransError(f"the output {destination} must be a folder, because {source} is one")
    names = output_names([file.relative_to(source) for file in found.images], suffix)
    return {file: destination / name for file, name in zip(found.images, names, strict=True)}, unread


def _encode(drawing: Drawing, target: Path, size: int | None) -> bytes:
    format_name = output_format(target)
    if format_name == SVG:
        return marked_svg(drawing.to_svg(size))
    return encode_image(drawing.to_pil(size or DEFAULT_SIZE), format_name, str(target), **mark_options(format_name))
