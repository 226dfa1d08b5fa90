"""Transfer picture files: one, or a folder with its structure kept."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from domtrans.errors import DomtransError
from domtrans.pictures import find_pictures, from_pil, read_picture, to_pil
from domtrans.runs import Run, load
from domtrans.tensors import write_bytes

BATCH_SIZE = 256


@dataclass(frozen=True)
class Transferred:
    """What became of the pictures: the files written, and those that could not be read with the reason."""

    written: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]


def transfer(run: Run | str | Path, source: str | Path, destination: str | Path, *, device: str = "auto") -> Transferred:
    """Transfer a picture file to a file, or every picture under a folder to a folder, as PNG.

    ``a.jpg`` becomes ``a.png``; where two pictures would become one file, as ``a.jpg`` and ``a.png`` would, they keep their
    endings: ``a.jpg.png`` and ``a.png.png``. A picture of a folder that cannot be read is passed over and listed in
    ``failed``. A destination inside the source folder is no part of it. Every file is written whole or not at all.
    Raises DomtransError if ``source`` is not there, a single file cannot be read, a picture would be written over one that is
    to be read, or nothing can be written.
    """
    source, destination = Path(source), Path(destination)
    try:
        there, single, folder_wanted = source.exists(), not source.is_dir(), destination.is_dir()
    except OSError as error:  # a name that no file can have
        raise DomtransError(f"{source} or {destination} cannot be opened: {error.strerror}") from None
    if not there:
        raise DomtransError(f"there is no file or folder {source}")
    if single:
        paths, targets = [source], [destination / f"{source.stem}.png" if folder_wanted else destination]
        _check_apart(paths, targets)
        read_picture(source)
    else:
        if destination.is_file():
            raise DomtransError(f"{destination} is a file; a folder of pictures needs a folder to go to")
        paths = _pictures(source, destination)
        targets = [destination / name for name in output_names([path.relative_to(source) for path in paths])]
        _check_apart(paths, targets)
    run = run if isinstance(run, Run) else load(run, device=device)
    return _transfer_files(run, paths, targets)


def output_names(names: Sequence[Path]) -> list[Path]:
    """The PNG file for each picture of a folder, no two the same, on file systems that ignore case too.

    Pictures that would share one keep their ending in it; so does one that would have the name of an output folder.
    """
    whole: set[Path] = set()
    while True:
        made = [name.with_name(f"{name.name}.png") if name in whole else name.with_suffix(".png") for name in names]
        taken = Counter(map(_key, made)) + Counter({_key(parent) for name in made for parent in name.parents})
        clashing = {name for name, output in zip(names, made, strict=True) if taken[_key(output)] > 1} - whole
        if not clashing:
            return made
        whole |= clashing


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


def _pictures(source: Path, destination: Path) -> list[Path]:
    """The pictures of the source folder, without what an earlier transfer wrote into a folder inside it."""
    made = destination.resolve()
    inside = made != source.resolve() and made.is_relative_to(source.resolve())
    found = find_pictures(source)
    paths = [path for path in found if not path.resolve().is_relative_to(made)] if inside else found
    if not paths:
        raise DomtransError(f"there are no pictures in {source}")
    return paths


def _check_apart(paths: Sequence[Path], targets: Sequence[Path]) -> None:
    """Refuse to replace a picture that is to be read: nobody has another copy of it."""
    parents = {parent: parent.resolve() for parent in {path.parent for path in (*paths, *targets)}}
    kept = {parents[path.parent] / path.name for path in paths} | {path.resolve() for path in paths if path.is_symlink()}
    for target in targets:
        if parents[target.parent] / target.name in kept:
            raise DomtransError(f"{target} would be written over a picture that is to be transferred; choose another output")


def _transfer_files(run: Run, paths: Sequence[Path], targets: Sequence[Path]) -> Transferred:
    written: list[Path] = []
    failed: list[tuple[Path, str]] = []
    for start in range(0, len(paths), BATCH_SIZE):
        pixels: list[Tensor] = []
        kept: list[Path] = []
        for path, target in zip(paths[start : start + BATCH_SIZE], targets[start : start + BATCH_SIZE], strict=True):
            try:
                pixels.append(from_pil(read_picture(path), run.recipe.image_size))  # small at once: pictures may be large
                kept.append(target)
            except DomtransError as error:
                failed.append((path, str(error)))
        for image, target in zip(_made(run, pixels), kept, strict=True):
            _save(image, target)
            written.append(target)
    return Transferred(tuple(written), tuple(failed))


def _made(run: Run, pixels: Sequence[Tensor]) -> Iterator[Image.Image]:
    return iter(to_pil(run.transfer(torch.stack(list(pixels)))) if pixels else ())


def _save(image: Image.Image, target: Path) -> None:
    encoded = io.BytesIO()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(encoded, format=_format(target))
    except OSError as error:
        raise DomtransError(f"{target} cannot be written: {error.strerror or error}") from None
    write_bytes(target, encoded.getvalue(), durable=False)


def _format(target: Path) -> str:
    try:
        return Image.registered_extensions()[target.suffix.lower()]
    except KeyError:
        raise DomtransError(f"{target} has no ending that says which kind of picture to write; use .png or .jpg") from None
