"""Domains ``folder`` and ``arrays``: grey or colour, any size, resized on load."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from domtrans import DomtransError, ImageSet, Memory, StoredImages, find_pictures

Holdout = Annotated[float, Field(ge=0, le=1)]
Split = Literal["train", "test"]


def arrays(split: Split, size: int, *, path: str, holdout: Holdout = 0.125) -> ImageSet:
    """Images in an .npz file: ``images`` uint8 [N, H, W] or [N, H, W, C], optionally ``labels`` integers [N].

    ``path``: the file. ``holdout``: share of the images, the last in file order, that is the test split (neighbours often
    belong together, so no shuffling).
    Raises DomtransError for a file that is missing, damaged, of another shape, or holds pickled objects.
    """
    found = _read_npz(Path(path))
    whole = ImageSet.from_arrays(found["images"], found.get("labels"), size=size, about=about("arrays", path, split))
    return whole.take(part_of(torch.arange(len(whole)), split, holdout, path))


def folder(
    split: Split, size: int, *, path: str, holdout: Holdout = 0.125, grey: bool = False, memory: Memory = "auto"
) -> ImageSet:
    """Pictures under a folder; each subfolder of it that holds pictures is a class.

    Subfolders ``train`` and ``test`` are the splits, where there are both. Pictures are cropped to their centre square.
    ``path``: the folder. ``holdout``: otherwise the share of every class, the last by file name, that is the test split.
    ``grey``: read as one channel. ``memory``: "yes" holds the pictures in memory, "no" reads them as they are needed, "auto"
    holds up to 1 GiB of pixels.
    Raises DomtransError for a folder that is missing or empty, and where more than 1 % of the pictures cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        raise DomtransError(f"there is no folder {root}")
    if (root / "train").is_dir() and (root / "test").is_dir():
        root, holdout_here = root / split, None
    else:
        holdout_here = holdout
    paths = find_pictures(root.absolute())
    if not paths:
        raise DomtransError(f"there are no pictures in {root}")
    above = len(os.path.join(root.absolute(), ""))  # noqa: PTH118 - a million paths: relative_to takes a hundred times as long
    names = [str(picture)[above:] for picture in paths]
    groups = [name.rpartition(os.sep)[0].partition(os.sep)[0] for name in names]
    classes = tuple(sorted(set(groups)))
    places = {name: place for place, name in enumerate(classes)}
    labels = torch.tensor([places[group] for group in groups])
    labelled = len(classes) > 1 and "" not in classes
    spans = torch.tensor([(i, 0, _bytes_of(picture)) for i, picture in enumerate(paths)])
    images = StoredImages(str(root.absolute()), names, spans, size, 1 if grey else 3)
    whole = ImageSet(images, labels if labelled else None, classes if labelled else (), about("folder", path, split))
    chosen = labels.sort(stable=True).indices.split(torch.bincount(labels).tolist())
    if holdout_here is not None:
        chosen = [part_of(members, split, holdout_here, path) for members in chosen]
    return whole.take(torch.cat(chosen)).kept(memory)


def part_of(index: Tensor, split: Split, holdout: float, path: str) -> Tensor:
    """The first or the last part of an index; DomtransError if nothing is left for the split."""
    border = len(index) - round(len(index) * holdout)
    part = index[:border] if split == "train" else index[border:]
    if not len(part):
        raise DomtransError(
            f"{path} leaves no images for the {split} split with holdout={holdout}; change holdout or add images"
        )
    return part


def about(kind: str, path: str, split: str) -> str:
    """What a set is, for people."""
    return f"{kind} {path}, {split} split"


def _bytes_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise DomtransError(f"{file} cannot be read: {error.strerror}") from None


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")  # a pipe would be waited for
        with path.open("rb") as raw:  # np.load would leave a damaged file open
            file = np.load(raw, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile) or "images" not in file:
                raise DomtransError(f"{path} must be an .npz file with an array 'images'")
            return {name: file[name] for name in ("images", "labels") if name in file}
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except ValueError as error:
        pickled = "pickle" in str(error) or "Object arrays" in str(error)
        reason = "it holds pickled objects, which are never loaded" if pickled else " ".join(str(error).split())[:120]
        raise DomtransError(f"{path} cannot be read as an .npz file: {reason}") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, MemoryError) as error:
        raise DomtransError(f"{path} cannot be read as an .npz file: {' '.join(str(error).split())[:120]}") from None
