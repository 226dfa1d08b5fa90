"""Domains ``folder`` and ``arrays``: grey or colour, any size, resized on load."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from domtrans import DomtransError, ImageSet, find_pictures, read_pictures

Holdout = Annotated[float, Field(ge=0, le=1)]
Split = Literal["train", "test"]


def arrays(split: Split, size: int, *, path: str, holdout: Holdout = 0.125) -> ImageSet:
    """Images in an .npz file: ``images`` uint8 [N, H, W] or [N, H, W, C], optionally ``labels`` integers [N].

    ``path``: the file. ``holdout``: share of the images, the last in file order, that is the test split (neighbours often
    belong together, so no shuffling).
    Raises DomtransError for a file that is missing, damaged, of another shape, or holds pickled objects.
    """
    found = _read_npz(Path(path))
    whole = ImageSet.from_arrays(found["images"], found.get("labels"), size=size, about=_about("arrays", path, split))
    return whole.take(_split(torch.arange(len(whole)), split, holdout, path))


def folder(split: Split, size: int, *, path: str, holdout: Holdout = 0.125, grey: bool = False) -> ImageSet:
    """Pictures under a folder; each subfolder of it that holds pictures is a class.

    Subfolders ``train`` and ``test`` are the splits, where there are both. Pictures are cropped to their centre square.
    ``path``: the folder. ``holdout``: otherwise the share of every class, the last by file name, that is the test split.
    ``grey``: read as one channel.
    Raises DomtransError for a folder that is missing or empty and for pictures that cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        raise DomtransError(f"there is no folder {root}")
    if (root / "train").is_dir() and (root / "test").is_dir():
        root, holdout_here = root / split, None
    else:
        holdout_here = holdout
    paths = find_pictures(root)
    if not paths:
        raise DomtransError(f"there are no pictures in {root}")
    groups = [picture.relative_to(root).parts[0] if picture.parent != root else "" for picture in paths]
    classes = tuple(sorted(set(groups)))
    chosen = []
    for name in classes:
        members = torch.tensor([i for i, group in enumerate(groups) if group == name])
        chosen += (members if holdout_here is None else _split(members, split, holdout_here, path)).tolist()
    labelled = len(classes) > 1 and "" not in classes
    labels = torch.tensor([classes.index(groups[i]) for i in chosen]) if labelled else None
    images = read_pictures([paths[i] for i in chosen], size, 1 if grey else 3)
    return ImageSet(images, labels, classes if labelled else (), _about("folder", path, split))


def _split(index: Tensor, split: Split, holdout: float, path: str) -> Tensor:
    """The first or the last part of an index; DomtransError if nothing is left for the split."""
    border = len(index) - round(len(index) * holdout)
    part = index[:border] if split == "train" else index[border:]
    if not len(part):
        raise DomtransError(
            f"{path} leaves no images for the {split} split with holdout={holdout}; change holdout or add images"
        )
    return part


def _about(kind: str, path: str, split: str) -> str:
    return f"{kind} {path}, {split} split"


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
