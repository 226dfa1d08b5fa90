"""Planning a transfer: which files it reads, and where each output goes."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from domtrans.data.decode_worker import MAX_IMAGE_BYTES
from domtrans.data.image_scan import SkipKind, SkippedFile, describe_skipped, scan_images, skipped_file
from domtrans.data.pages import ANIMATED_FORMATS
from domtrans.errors import DomtransError
from domtrans.inference.output_files import is_own
from domtrans.inference.output_names import (
    SVG,
    numbered_target,
    output_format,
    output_name,
    output_names,
    readable_suffixes,
    unnumbered,
)
from domtrans.inference.video import VIDEO_FORMATS

MAX_NAMES = 9
"""Inputs that an error message lists."""


@dataclass(frozen=True)
class Job:
    """One file to transfer.

    Attributes:
        source: The input.
        name: What messages call the input.
        target: The output.
        format_name: Pillow's name of the output format, "SVG", or the suffix of a video.
        parameters: Where the parameters of the drawing are written; None: nowhere.
        crop_format: With crops, the format of each crop if it is not that of the output; see ``crop``.
    """

    source: Path | BinaryIO
    name: str
    target: Path | BinaryIO
    format_name: str
    parameters: Path | None = None
    crop_format: str | None = None

    @property
    def files(self) -> list[Path]:
        """All files that the job writes, without those of crops."""
        return [path for path in (self.target, self.parameters) if isinstance(path, Path)]

    def crop(self, number: int) -> Job:
        """The job of the ``number``-th crop: ``a-1.png`` beside ``a.png``. Raises DomtransError without file names."""
        target = numbered_target(self.target, number)
        target = target.with_suffix(".svg") if self.crop_format == SVG else target
        parameters = None if self.parameters is None else numbered_target(self.parameters, number)
        return replace(self, target=target, format_name=self.crop_format or self.format_name, parameters=parameters)

    def with_overview(self) -> Job:
        """The same job for crops: what it writes itself shows photographs, so ``a.svg`` becomes ``a.png``."""
        if self.format_name != SVG or not isinstance(self.target, Path):
            return self
        return replace(self, target=self.target.with_suffix(".png"), format_name="PNG", crop_format=SVG)

    @property
    def is_video(self) -> bool:
        """Whether the input is read as a video."""
        return isinstance(self.source, Path) and self.source.suffix.lower() in VIDEO_FORMATS

    @property
    def can_hold_frames(self) -> bool:
        """Whether the output format can hold several frames."""
        return self.format_name in ANIMATED_FORMATS or self.format_name in VIDEO_FORMATS

    @property
    def target_exists(self) -> bool:
        """Whether the output exists already."""
        return isinstance(self.target, Path) and self.target.exists()


@dataclass(frozen=True)
class Plan:
    """What a transfer does.

    Attributes:
        jobs: The files to transfer, in order.
        single: Whether the input is a single named file rather than a folder or a pattern.
        passed_over: The other files of folders and patterns.
    """

    jobs: list[Job]
    single: bool
    passed_over: tuple[SkippedFile, ...] = ()


def plan_jobs(
    sources: Sequence[Path | BinaryIO],
    destination: Path | BinaryIO,
    *,
    suffix: str | None = None,
    numbered: bool = False,
    extra_outputs: Sequence[Path] = (),
    parameters: Path | None = None,
) -> Plan:
    """Plan a transfer.

    Args:
        sources: Files, folders, patterns and open files.
        destination: A file, a folder or an open file.
        suffix: Of image outputs that the destination does not name; None: ".png".
        numbered: Whether ``a.png`` comes with ``a-1.png``, ``a-2.png`` and so on, one for each crop.
        extra_outputs: Files that will be written besides, such as a contact sheet.
        parameters: Where the parameters of drawings are written: a file for a single input, else a folder.

    Raises:
        DomtransError: If an input does not exist, or an output would replace an input.
    """
    try:
        passed_over: list[SkippedFile] = []
        inputs = [path for source in sources for path in _expand(source, destination, passed_over)]
        single = len(sources) == 1 and inputs == [sources[0]] and not _is_folder(inputs[0])
        if single:
            jobs = [_plan_single(inputs[0], destination, suffix)]
        else:
            jobs = _plan_many(inputs, destination, suffix, numbered, passed_over)
        if parameters is not None:
            jobs = [replace(job, parameters=_parameter_file(job, destination, parameters, single=single)) for job in jobs]
        if numbered:
            jobs = [job.with_overview() for job in jobs]
        _check_inputs_kept(jobs, extra_outputs, numbered)
    except (OSError, RuntimeError) as error:  # an invalid file name, or a loop of links
        raise DomtransError(f"{getattr(error, 'filename', None) or destination} cannot be opened: {error}") from None
    return Plan(jobs, single, tuple(dict.fromkeys(passed_over)))


def read_stream(file: BinaryIO) -> BinaryIO:
    """All bytes of an open file that may not be seekable. Raises DomtransError if there are too many."""
    name = str(getattr(file, "name", "the input"))
    content = file.read(MAX_IMAGE_BYTES + 1)
    if len(content) > MAX_IMAGE_BYTES:
        raise DomtransError(f"{name} has more than {MAX_IMAGE_BYTES:,} bytes, too many for an image")
    buffer = io.BytesIO(content)
    buffer.name = name
    return buffer


def _expand(source: Path | BinaryIO, destination: Path | BinaryIO, passed_over: list[SkippedFile]) -> Sequence[Path | BinaryIO]:
    """The file or folder of that name or, if there is none, the images and folders that match it as a pattern.

    Other files that match are appended to ``passed_over``.
    """
    if not isinstance(source, Path) or source.exists():
        return [source]
    if not glob.has_magic(str(source)):
        raise DomtransError(f"there is no file or folder {source}")
    matches = [Path(match) for match in sorted(glob.glob(str(source), recursive=True))]  # noqa: PTH207 - Path.glob refuses absolute ones
    if isinstance(destination, Path):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), source.parts))
        matches = _without_outputs(matches, root, destination)
    others = {path: skipped_file(path, readable_suffixes()) for path in matches if not path.is_dir()}
    skipped = [other for other in others.values() if other is not None]
    paths = [path for path in matches if others.get(path) is None]
    if not paths:
        raise DomtransError(f"no image or folder matches {source}{_found_instead(skipped)}")
    passed_over += skipped
    return paths


def _is_folder(source: Path | BinaryIO) -> bool:
    return isinstance(source, Path) and source.is_dir()


def _plan_single(source: Path | BinaryIO, destination: Path | BinaryIO, suffix: str | None) -> Job:
    name = str(source) if isinstance(source, Path) else str(getattr(source, "name", "the input"))
    unnamed = Path(f"picture{suffix or '.png'}")
    if not isinstance(destination, Path):
        return Job(source, name, destination, output_format(unnamed))
    if destination.is_dir() or not (destination.suffix or destination.exists()):  # a name without a suffix is a new folder
        destination /= output_name(Path(source.name), unnamed.suffix) if isinstance(source, Path) else unnamed
    elif suffix is not None and output_format(destination) != output_format(unnamed):
        raise DomtransError(f"the suffix of {destination} is not that of the format {suffix[1:]}; leave one of them out")
    return Job(source, name, destination, output_format(destination))


def _parameter_file(job: Job, destination: Path | BinaryIO, parameters: Path, *, single: bool) -> Path:
    """The file for the parameters of a job: in a folder, of the same name as the output."""
    if not isinstance(job.target, Path):
        name = Path("picture")
    elif single or not isinstance(destination, Path):
        name = Path(job.target.name)
    else:
        name = job.target.relative_to(destination)
    if single and not parameters.is_dir():
        if parameters.suffix.lower() != ".json":
            raise DomtransError(f"the file of parameters {parameters} must end in .json")
        return parameters
    if parameters.suffix.lower() == ".json" and not parameters.is_dir():
        raise DomtransError(f"{parameters} has the name of a file; the parameters of several images need a folder")
    return parameters / name.with_suffix(".json")


def _plan_many(
    inputs: Sequence[Path | BinaryIO],
    folder: Path | BinaryIO,
    suffix: str | None,
    numbered: bool,
    passed_over: list[SkippedFile],
) -> list[Job]:
    sources = [source for source in inputs if isinstance(source, Path)]
    if not isinstance(folder, Path) or len(sources) < len(inputs):
        raise DomtransError("standard input and output take a single image; name files and a folder for several images")
    if folder.is_file():
        raise DomtransError(f"the output {folder} is a file; several images need a folder as the output")
    if folder.suffix.lower() in {*readable_suffixes(), ".svg"} and not folder.exists():
        raise DomtransError(f"the output {folder} has the name of an image file; several images need a folder as the output")
    paths = list(dict.fromkeys(path for source in sources for path in _images_of(source, folder, passed_over)))
    paths = _without_earlier_outputs(paths, sources, folder, passed_over)
    if not paths:
        places = ", ".join(map(str, sources[:MAX_NAMES]))
        raise DomtransError(f"there are no images in {places}{_found_instead(passed_over)}")
    root = _common_folder(sources)
    names = [Path(os.path.relpath(path, root)) for path in paths]
    targets = [folder / name for name in output_names(names, suffix or ".png", numbered=numbered)]
    return [Job(path, str(path), target, output_format(target)) for path, target in zip(paths, targets, strict=True)]


def _images_of(source: Path, destination: Path, passed_over: list[SkippedFile]) -> list[Path]:
    """A file itself, or the images and videos of a folder. Its other files are appended to ``passed_over``."""
    if not source.is_dir():
        return [source]
    scan = scan_images(source, readable_suffixes())
    others = {other.path: other for other in scan.skipped}
    passed_over += [others[path] for path in _without_outputs(list(others), source, destination)]
    return _without_outputs(scan.images, source, destination)


def _without_outputs(paths: list[Path], folder: Path, destination: Path) -> list[Path]:
    """The paths without the outputs of an earlier transfer, if the destination is inside the folder."""
    outputs, inputs = destination.resolve(), folder.resolve()
    inside = outputs != inputs and outputs.is_relative_to(inputs)
    return [path for path in paths if not path.resolve().is_relative_to(outputs)] if inside else paths


def _without_earlier_outputs(
    paths: list[Path], sources: Sequence[Path], destination: Path, passed_over: list[SkippedFile]
) -> list[Path]:
    """The paths without what domtrans wrote, if they are in the destination itself. This is appended to ``passed_over``."""
    outputs = destination.resolve()
    if not paths or outputs not in {place.resolve() for place in (Path(_common_folder(sources)), *sources)}:
        return paths
    inside = (path for path in paths if path.resolve().is_relative_to(outputs))
    earlier = {path: SkippedFile(path, SkipKind.EARLIER_OUTPUT) for path in inside if is_own(path)}
    passed_over += earlier.values()
    return [path for path in paths if path not in earlier]


def _found_instead(skipped: Sequence[SkippedFile]) -> str:
    """The end of a sentence that there are no images."""
    note = describe_skipped(skipped)
    return f"; {note}" if note else ""


def _common_folder(sources: Sequence[Path]) -> str:
    """The folder that output names are relative to. For a single folder, this is the folder itself."""
    folders = {os.path.abspath(path if path.is_dir() else path.parent) for path in sources}  # noqa: PTH100 - does not follow links
    try:
        return os.path.commonpath(folders)
    except ValueError:
        raise DomtransError("the inputs are on different drives; transfer the images of each drive separately") from None


def _check_inputs_kept(jobs: Sequence[Job], extra_outputs: Sequence[Path], numbered: bool) -> None:
    """Refuse to replace an input, of which there may be no other copy."""
    sources = [job.source for job in jobs if isinstance(job.source, Path)]
    targets = [job.target for job in jobs if isinstance(job.target, Path)]
    everything = (*sources, *targets, *extra_outputs)
    folders = {folder: folder.resolve() for folder in {path.parent for path in everything}}
    places = {path: folders[path.parent] / path.name for path in everything}
    protected = {places[path] for path in sources} | {path.resolve() for path in sources if path.is_symlink()}
    protected |= {owner for path in protected if numbered and (owner := unnumbered(path)) is not None}
    for target in (*targets, *extra_outputs):
        if places[target] in protected:
            raise DomtransError(f"the output {target} would replace an image that is to be transferred; choose another output")
    outputs = {places[target] for target in targets}
    for extra in extra_outputs:
        if places[extra] in outputs:
            raise DomtransError(f"{extra} would replace one of the transferred images; choose another name for it")
