"""Transfer picture files: one, or a folder with its structure kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.pictures import find_pictures, read_picture
from domtrans.runs import Run, load

BATCH_SIZE = 256


@dataclass(frozen=True)
class Transferred:
    """What became of the pictures: the files written, and those that could not be read with the reason."""

    written: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]


def transfer(run: Run | str | Path, source: str | Path, destination: str | Path, *, device: str = "auto") -> Transferred:
    """Transfer a picture file to a file, or every picture under a folder to a folder, as PNG.

    A picture of a folder that cannot be read is passed over and listed in ``failed``.
    Raises DomtransError if ``source`` is not there, a single file cannot be read, or nothing can be written.
    """
    source, destination = Path(source), Path(destination)
    if not source.exists():
        raise DomtransError(f"there is no file or folder {source}")
    run = run if isinstance(run, Run) else load(run, device=device)
    if source.is_dir():
        paths = find_pictures(source)
        if not paths:
            raise DomtransError(f"there are no pictures in {source}")
        if destination.is_file():
            raise DomtransError(f"{destination} is a file; a folder of pictures needs a folder to go to")
        targets = [destination / path.relative_to(source).with_suffix(".png") for path in paths]
    else:
        read_picture(source)
        paths, targets = [source], [destination / f"{source.stem}.png" if destination.is_dir() else destination]
    return _transfer_files(run, paths, targets)


def _transfer_files(run: Run, paths: Sequence[Path], targets: Sequence[Path]) -> Transferred:
    written: list[Path] = []
    failed: list[tuple[Path, str]] = []
    for start in range(0, len(paths), BATCH_SIZE):
        images, kept = [], []
        for path, target in zip(paths[start : start + BATCH_SIZE], targets[start : start + BATCH_SIZE], strict=True):
            try:
                images.append(read_picture(path))
                kept.append(target)
            except DomtransError as error:
                failed.append((path, str(error)))
        for image, target in zip(run.transfer(images), kept, strict=True):
            _save(image, target)
            written.append(target)
    return Transferred(tuple(written), tuple(failed))


def _save(image: object, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target)  # type: ignore[attr-defined]
    except ValueError:
        raise DomtransError(f"{target} has no ending that says which kind of picture to write; use .png or .jpg") from None
    except OSError as error:
        raise DomtransError(f"{target} cannot be written: {error.strerror or error}") from None
