"""One set of images that Python code passed, as an ImageSet: arrays, lists of images, data sets of torch and Hugging Face."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from domtrans.data.aspect import square_tensor
from domtrans.data.axes import channels_first, image_axes, set_axes
from domtrans.data.classes import list_names, read_labels
from domtrans.data.image_files import decode_image
from domtrans.data.image_set import ImageSet
from domtrans.data.pixels import flat_square_array, flatten
from domtrans.data.value_range import BYTES, ValueRange, to_bytes
from domtrans.errors import DomtransError

IMAGE_KEYS = ("image", "img", "images", "picture", "photo", "pixel_values", "x")
LABEL_KEYS = ("label", "labels", "class", "target", "digit", "y")
"""Names of columns and of keys of items."""

MNIST_CLASS = re.compile(r"(\d+) - [a-z]+")
"""Class names of torchvision's MNIST, such as "0 - zero"."""


def read_set(data: Any, size: int, where: str, stated: ValueRange | None = None) -> ImageSet:
    """Read a set of images.

    Args:
        data: As in ``read_data``, without splits.
        size: Side of the images in pixels.
        where: What the data is, for messages.
        stated: The values of black and white; None to detect them.

    Raises:
        DomtransError: For other data, or for values whose range is not clear.
    """
    if isinstance(data, ImageSet):
        return _resized(data, size)
    about = f"{_kind(data)} passed from Python, {where}"
    labels: Any = None
    if _is_pair(data):
        data, labels = data
        if isinstance(data, ImageSet):
            data = data.images
    if _is_array(data) and len(data.shape) in (3, 4):
        pixels, notes = _read_array(data, size, where, stated)
        classes: Sequence[str] = ()
    else:
        items = _Items(where, stated, size)
        own_labels, classes = _read_items(data, items, has_labels=labels is not None)
        pixels, notes = items.result()
        labels = own_labels if labels is None else labels
    targets: Tensor | None = None
    names: tuple[str, ...] = ()
    if labels is not None:
        labels = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
        labels = _plain_labels(labels) if isinstance(labels, list | tuple) else labels
        if len(labels) and not isinstance(labels[0], str) and np.array_equal(np.asarray(labels), np.full(len(labels), -1)):
            notes = [*notes, "all labels are -1, so the images are taken as unlabelled"]
        else:
            try:
                targets, names = read_labels(labels, len(pixels), classes)
            except DomtransError as error:
                raise DomtransError(f"the {where}: {error}") from None
    return ImageSet(pixels, targets, names, about, notes=tuple(notes))


def _resized(images: ImageSet, size: int) -> ImageSet:
    if tuple(images.shape[-2:]) == (size, size):
        return images
    pixels = torch.cat([square_tensor(block, size) for block in images.blocks()])
    return replace(images, pixels=pixels)


def _kind(data: Any) -> str:
    if _is_pair(data):
        data = data[0]
    if isinstance(data, Tensor | np.ndarray):
        return "tensor" if isinstance(data, Tensor) else "array"
    return "images" if isinstance(data, list | tuple) else type(data).__name__


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _is_pair(data: Any) -> bool:
    """Whether data is images and labels, and not two images."""
    if not isinstance(data, tuple) or len(data) != 2:
        return False
    images, labels = data
    if isinstance(images, Image.Image) or isinstance(labels, Image.Image):
        return False
    if labels is None:
        return True
    if _is_array(images) and _is_array(labels):
        return len(images.shape) >= 3 and (
            len(labels.shape) == 1 or (len(labels.shape) == 2 and (1 in labels.shape or _is_one_hot(labels)))
        )
    return hasattr(images, "__len__") and hasattr(labels, "__len__")


def _is_one_hot(labels: Any) -> bool:
    """Whether every row of a matrix has one 1 and otherwise 0."""
    rows = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    return rows.dtype.kind in "biuf" and bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())


def _read_array(data: Any, size: int, where: str, stated: ValueRange | None) -> tuple[Tensor, list[str]]:
    """uint8 [N, C, size, size] of an array [N, H, W], [N, H, W, C] or [N, C, H, W], and notes about its values."""
    shape = list(data.shape)
    if 0 in shape:
        raise DomtransError(f"the {where} is empty: an array of shape {shape}")
    set_axes(shape, (1, 3), f"the {where}")  # raises before the values are looked at
    pixels, note = to_bytes(data, where, stated)
    return ImageSet.from_arrays(pixels, size=size, value_range=BYTES).images, [note] if note else []


class _Items:
    """Images of one set, one at a time. Floats are converted at the end, when the range of all is known."""

    def __init__(self, where: str, stated: ValueRange | None, size: int) -> None:
        self.where, self.stated, self.size = where, stated, size
        self.pixels: list[Tensor] = []
        self.type: Any = None
        self.low, self.high = np.inf, -np.inf

    def add(self, image: Any) -> None:
        """Add a PIL image, or a tensor or an array [H, W], [H, W, C] or [C, H, W]."""
        number = len(self.pixels)
        if isinstance(image, Mapping) and isinstance(image.get("bytes"), bytes):  # an Image column that is not decoded
            image = decode_image(io.BytesIO(image["bytes"]), f"image {number} of the {self.where}")
        if isinstance(image, Image.Image):
            try:
                flat = flatten(image)
                pixels = torch.from_numpy(flat_square_array(flat, self.size, 1 if flat.mode == "L" else 3))
            except (OSError, ValueError, SyntaxError) as error:
                raise DomtransError(f"image {number} of the {self.where} cannot be read: {error}") from None
            kind = "PIL image"
        elif _is_array(image) and len(image.shape) in (2, 3):
            tensor = image.detach().cpu() if isinstance(image, Tensor) else torch.from_numpy(_native(image))
            kind = str(tensor.dtype)
            pixels = self._square(tensor, number)
        else:
            raise DomtransError(
                f"image {number} of the {self.where} is {_describe(image)}; images are PIL images, or tensors or arrays "
                "[H, W], [H, W, C] or [C, H, W]"
            )
        if self.type not in (None, kind):
            raise DomtransError(f"image {number} of the {self.where} is of type {kind}, but those before are {self.type}")
        self.type = kind
        self.pixels.append(pixels)

    def _square(self, image: Tensor, number: int) -> Tensor:
        """[C, size, size] of the same type."""
        if image.numel() == 0:
            raise DomtransError(f"image {number} of the {self.where} is empty: shape {list(image.shape)}")
        axes = image_axes(image.shape, (1, 3))
        if axes is None:
            raise DomtransError(f"image {number} of the {self.where} must have 1 or 3 channels, not shape {list(image.shape)}")
        (image,) = channels_first(image, axes)
        low, high = float(image.min()), float(image.max())  # NaN if the image has one
        if not np.isfinite(low) or not np.isfinite(high):
            raise DomtransError(f"image {number} of the {self.where} has values that are not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        return square_tensor((image if image.dtype == torch.uint8 else image.float())[None], self.size)[0]

    def result(self) -> tuple[Tensor, list[str]]:
        """uint8 [N, C, size, size], and notes about the values."""
        if not self.pixels:
            raise DomtransError(f"the {self.where} has no images")
        channels = max(len(image) for image in self.pixels)
        pixels = torch.stack([image.expand(channels, -1, -1) for image in self.pixels])
        if self.type == "PIL image":
            return pixels, []
        dtype = getattr(torch, self.type.removeprefix("torch."))
        pixels, note = to_bytes(pixels, self.where, self.stated, dtype, (self.low, self.high))
        return torch.as_tensor(pixels), [note] if note else []


class _Columns(NamedTuple):
    """The columns of a Hugging Face data set."""

    image: str
    label: str | None
    classes: tuple[str, ...]


def _read_items(data: Any, items: _Items, *, has_labels: bool) -> tuple[list[Any] | None, Sequence[str]]:
    """Add all images of a data set or a list. Returns their labels, or None, and the class names if the set has some."""
    where = items.where
    classes: tuple[str, ...] = ()
    if hasattr(data, "features") and hasattr(data, "column_names"):
        data, columns = _choose_columns(data, where)
        classes = columns.classes
        pairs = ((row[columns.image], row[columns.label] if columns.label else None) for row in _iterate(data, where))
    else:
        _check_is_set(data, where)
        classes = _class_names(data)
        pairs = (_image_and_label(item, where, alone=has_labels) for item in _iterate(data, where))
    labels = []
    for image, label in pairs:
        items.add(image)
        labels.append(label)
    missing = sum(label is None for label in labels)
    if missing == len(labels) or has_labels:
        return None, ()
    if missing:
        raise DomtransError(f"{missing} of the {len(labels)} images of the {where} lack a label; give all of them one, or none")
    integers = all(isinstance(_plain_label(label), int) for label in labels)
    return labels, classes if integers else ()


def _iterate(data: Any, where: str) -> Iterator[Any]:
    for index in range(len(data)):
        try:
            item = data[index]
        except DomtransError:
            raise
        except Exception as error:
            raise DomtransError(f"image {index} of the {where} cannot be read: {type(error).__name__}: {error}") from error
        yield item


def _check_is_set(data: Any, where: str) -> None:
    advice = ""
    if isinstance(data, DataLoader):
        advice = "; pass the data set of the loader: loader.dataset"
    elif isinstance(data, IterableDataset) or (isinstance(data, Iterator | Dataset) and not hasattr(data, "__len__")):
        advice = "; it has no length, so pass list(...) of it, or a map-style data set"
    elif isinstance(data, Image.Image) or (_is_array(data) and len(data.shape) == 2):
        advice = "; it is one image, and training needs many"
    elif (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, bytes | Mapping | Tensor | np.ndarray)
    ):
        if len(data) and isinstance(data, list | tuple) and (isinstance(data[0], str) or hasattr(data[0], "__fspath__")):
            raise DomtransError(f'the {where} is a list of paths; for image files, set {where}.path and {where}="folder"')
        return
    raise DomtransError(
        f"the {where} is {_describe(data)}, which is not a set of images{advice}; pass an ImageSet, an array, a list of PIL "
        "images, a map-style Dataset, or the name of a domain"
    )


def _image_and_label(item: Any, where: str, *, alone: bool) -> tuple[Any, Any]:
    """Image and label, or None, of an item of a data set."""
    if isinstance(item, Mapping) and "bytes" not in item:
        image = next((item[key] for key in IMAGE_KEYS if key in item), None)
        label = next((item[key] for key in LABEL_KEYS if key in item), None)
        if image is None:
            raise DomtransError(
                f"items of the {where} have the keys {list_names([str(key) for key in item])}, and none of them is 'image'"
            )
        return image, label
    if isinstance(item, tuple | list) and item:
        return item[0], None if len(item) == 1 or alone else item[1]
    return item, None


def _class_names(data: Any) -> tuple[str, ...]:
    """The class names of a torchvision data set, or of a subset of one; empty if it has none."""
    for _ in range(10):
        names = getattr(data, "classes", None)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            numbers = [MNIST_CLASS.fullmatch(name) for name in names]
            if all(number is not None and int(number[1]) == index for index, number in enumerate(numbers)):
                return tuple(str(index) for index in range(len(names)))
            return tuple(names) if len(set(names)) == len(names) else ()
        if not hasattr(data, "dataset"):
            return ()
        data = data.dataset
    return ()


def _choose_columns(data: Any, where: str) -> tuple[Any, _Columns]:
    """A Hugging Face data set with its column of images and of labels alone, and their names."""
    names = list(data.column_names or ())
    if not hasattr(data, "__len__"):
        raise DomtransError(f"the {where} is a stream without a length; load it without streaming=True")
    features = data.features or {}
    kinds = {name: type(features[name]).__name__ if name in features else "" for name in names}
    images = [name for name in names if kinds[name] == "Image"] or [name for name in IMAGE_KEYS if name in names][:1]
    image = _one(images, "images", where)
    if image is None:
        raise DomtransError(f"the {where} has no column of images; its columns are {list_names(names)}; rename one to 'image'")
    labels = [name for name in names if kinds[name] == "ClassLabel"]
    labels = (
        [name for name in labels if name in LABEL_KEYS][:1]
        or labels
        or [name for name in LABEL_KEYS if name in names and name != image][:1]
    )
    label = _one(labels, "labels", where)
    classes = tuple(getattr(features.get(label), "names", None) or ()) if label else ()
    kept = [image] if label is None else [image, label]
    if set(kept) != set(names) and hasattr(data, "select_columns"):
        data = data.select_columns(kept)  # so that other columns are not decoded
    return data, _Columns(image, label, classes)


def _one(candidates: list[str], what: str, where: str) -> str | None:
    if len(candidates) > 1:
        raise DomtransError(
            f"the {where} has several columns of {what} ({list_names(candidates)}); keep the ones to use with "
            "dataset.select_columns([IMAGE, LABEL])"
        )
    return candidates[0] if candidates else None


def _plain_labels(labels: Sequence[Any]) -> list[Any]:
    return [_plain_label(label) for label in labels]


def _plain_label(label: Any) -> Any:
    """A label that is an array or tensor of one value as that value."""
    return label.item() if hasattr(label, "item") and getattr(label, "size", 1) != 0 and _count(label) == 1 else label


def _count(value: Any) -> int:
    return int(value.numel()) if isinstance(value, Tensor) else int(getattr(value, "size", 1))


def _native(array: np.ndarray) -> np.ndarray:
    """An array that torch can hold: contiguous, in native byte order, not an unsigned type of 16 bits or more."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind not in "biuf":
        raise DomtransError(f"images must be numbers, not {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        raise DomtransError(f"images of type {array.dtype} in a data set are not supported; convert them to uint8")
    return np.require(array, array.dtype.newbyteorder("="), ["C", "W"])  # torch warns of memory that it may not write


def _describe(value: Any) -> str:
    shape = f" of shape {list(value.shape)}" if _is_array(value) else ""
    return f"{type(value).__name__}{shape}"
