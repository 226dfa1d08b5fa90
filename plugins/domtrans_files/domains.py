"""The domains ``folder`` and ``arrays``: grey or colour images of any size, resized when loaded."""

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

from domtrans import DomtransError, ImageSet, Memory, StoredImages, find_images

Holdout = Annotated[float, Field(ge=0, le=1)]
Split = Literal["train", "test"]


def arrays(split: Split, size: int, *, path: str, holdout: Holdout = 0.125) -> ImageSet:
    """Images in an .npz file: ``images`` uint8 [N, H, W] or [N, H, W, C], optionally ``labels`` integers [N].

    Args:
        path: The file.
        holdout: Share of the images that is the test split, the last in the file. They are not shuffled, because neighbours
            are often related.

    Raises:
        DomtransError: If the file is missing or damaged, holds pickled objects, or its arrays have other shapes or types.
    """
    file = _read_npz(Path(path))
    images = ImageSet.from_arrays(file["images"], file.get("labels"), size=size, about=about("arrays", path, split))
    return images.take(part_of(torch.arange(len(images)), split, holdout, path))


def folder(
    split: Split, size: int, *, path: str, holdout: Holdout = 0.125, grey: bool = False, memory: Memory = "auto"
) -> ImageSet:
    """Image files under a folder. Each subfolder that holds images is a class.

    If there are subfolders ``train`` and ``test``, they are the splits. Images are cropped to their centre square.

    Args:
        path: The folder.
        holdout: Without subfolders ``train`` and ``test``, the share of every class that is the test split, the last by file
            name.
        grey: Read the images as one channel.
        memory: "yes" loads the images into memory, "no" reads them when needed, "auto" loads up to 1 GiB of pixels.

    Raises:
        DomtransError: If the folder is missing or empty, or more than 1 % of the images cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        raise DomtransError(f"{root} is a file, not a folder" if root.is_file() else f"there is no folder {root}")
    if (root / "train").is_dir() and (root / "test").is_dir():
        root, split_by_folder = root / split, True
    else:
        split_by_folder = False
    paths = find_images(root.absolute())
    if not paths:
        raise DomtransError(f"there are no images in {root}")
    prefix_length = len(os.path.join(root.absolute(), ""))  # noqa: PTH118 - relative_to is a hundred times slower
    names = [str(image)[prefix_length:] for image in paths]
    groups = [name.rpartition(os.sep)[0].partition(os.sep)[0] for name in names]
    classes = tuple(sorted(set(groups)))
    label_of = {name: label for label, name in enumerate(classes)}
    labels = torch.tensor([label_of[group] for group in groups])
    labelled = len(classes) > 1 and "" not in classes
    spans = torch.tensor([(i, 0, _size_in_bytes(image)) for i, image in enumerate(paths)])
    stored = StoredImages(str(root.absolute()), names, spans, size, 1 if grey else 3)
    images = ImageSet(stored, labels if labelled else None, classes if labelled else (), about("folder", path, split))
    by_class = labels.sort(stable=True).indices.split(torch.bincount(labels).tolist())
    if not split_by_folder:
        by_class = [part_of(members, split, holdout, path) for members in by_class]
    return images.take(torch.cat(by_class)).kept(memory)


def part_of(index: Tensor, split: Split, holdout: float, path: str) -> Tensor:
    """The part of an index for a split: the first for "train", the last for "test". Raises DomtransError if it is empty."""
    border = len(index) - round(len(index) * holdout)
    part = index[:border] if split == "train" else index[border:]
    if not len(part):
        raise DomtransError(
            f"{path} leaves no images for the {split} split with holdout={holdout}; change holdout or add images"
        )
    return part


def about(kind: str, path: str, split: str) -> str:
    """One line that says what a set is."""
    return f"{kind} {path}, {split} split"


def _size_in_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise DomtransError(f"{file} cannot be read: {error.strerror}") from None


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is not a regular file")  # opening a pipe would block
        with path.open("rb") as raw:  # np.load does not close a damaged file
            file = np.load(raw, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile) or "images" not in file:
                raise DomtransError(f"{path} must be an .npz file with an array 'images'")
            return {name: file[name] for name in ("images", "labels") if name in file}
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except ValueError as error:
        pickled = "pickle" in str(error) or "Object arrays" in str(error)
        reason = "it holds pickled objects, which are not loaded" if pickled else " ".join(str(error).split())[:120]
        raise DomtransError(f"{path} cannot be read as an .npz file: {reason}") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, MemoryError) as error:
        raise DomtransError(f"{path} cannot be read as an .npz file: {' '.join(str(error).split())[:120]}") from None
