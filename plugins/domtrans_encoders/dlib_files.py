"""Networks in dlib's own format, as ``dlib::serialize`` writes them: read as numbers only, nothing is executed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from domtrans import DomtransError

MAX_FILE_BYTES = 256 * 2**20
"""Largest file that is read; dlib's face recogniser takes 22 MB."""

INPUT = "input_rgb_image_sized"

FIELDS = {
    "con_4": "tiiiiiiiaaffff",  # parameters, filters, kernel, stride, padding, two views of the parameters, learning rates
    "affine_": "taai",
    "fc_2": "iitaaiffff",
    "max_pool_2": "iiiiii",
    "avg_pool_2": "iiiiii",
    "relu_": "",
    "add_prev_": "",
}
"""What is stored of each kind of layer: t a tensor, i an integer, f a number, a the shape of a view of the tensor."""

AFTER_EACH_LAYER = "bbbttt"
"""Three flags, and three tensors of the training, which are empty."""


@dataclass(frozen=True)
class Layer:
    """A layer with parameters: its kind, e.g. "con_4"; its parameters; and the shapes of what they consist of."""

    kind: str
    parameters: Tensor
    shapes: tuple[tuple[int, ...], ...]

    def split(self) -> list[Tensor]:
        """The parts of the parameters, float32, e.g. filters [O, I, H, W] and biases [1, O, 1, 1]. Empty parts are left out."""
        shapes = [shape for shape in self.shapes if math.prod(shape)]
        return [part.view(shape) for part, shape in zip(self.parameters.split([*map(math.prod, shapes)]), shapes, strict=True)]


def read_layers(path: Path) -> list[Layer]:
    """The layers with parameters of a network for RGB images that dlib saved, from the input to the output.

    Raises:
        DomtransError: If the file is missing, damaged, or holds another kind of network.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES:,} bytes")
        return list(_layers(_Reader(path.read_bytes())))
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except OSError as error:
        raise DomtransError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise DomtransError(f"{path} is not a complete network saved by dlib ({error})") from None


def _layers(file: _Reader) -> Iterator[Layer]:
    # The versions of all layers come first, from the outermost to the input; then their contents, the other way round.
    file.fields("i")
    if not file.text().startswith("loss_"):
        raise ValueError("it does not begin with a loss")
    file.fields("ff")
    while (version := file.integer()) in (1, 2):
        pass
    if version != 3 or file.text() != INPUT:
        raise ValueError("its input is not RGB images of one size")
    file.fields("fffii")
    at_input = True
    while not file.ended():
        kind = file.text()
        if kind not in FIELDS:
            raise ValueError(f"it has a layer of an unknown kind, {kind!r}")
        tensors, shapes = file.fields(FIELDS[kind])
        file.fields(AFTER_EACH_LAYER + "i" * at_input)  # the layer at the input also states its samples per image
        at_input = False
        if tensors:
            if sum(map(math.prod, shapes)) != tensors[0].numel():
                raise ValueError(f"the parameters of a layer {kind!r} do not have the size that it states")
            yield Layer(kind, tensors[0].flatten(), tuple(shapes))


class _Reader:
    """Reads a buffer from its beginning; every method raises ValueError where the content does not fit."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = content, 0

    def ended(self) -> bool:
        return self.position == len(self.content)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > len(self.content) - self.position:
            raise ValueError(f"it ends after {len(self.content):,} bytes")
        self.position += count
        return self.content[self.position - count : self.position]

    def integer(self) -> int:
        """One byte with the sign and the number of bytes, then as many bytes, the lowest first."""
        control = self.take(1)[0]
        if control & 0x70 or not 1 <= control & 0x0F <= 8:
            raise ValueError(f"byte {self.position - 1:,} does not begin a number")
        value = int.from_bytes(self.take(control & 0x0F), "little")
        return -value if control & 0x80 else value

    def text(self) -> str:
        """A length and as many bytes."""
        length = self.integer()
        if not 1 <= length <= 64:
            raise ValueError(f"there is no name of a layer at byte {self.position:,}")
        return self.take(length).decode("ascii", "replace")

    def shape(self) -> tuple[int, ...]:
        """Four sides."""
        sides = tuple(self.integer() for _ in range(4))
        if min(sides) < 0:
            raise ValueError("it has a tensor with a negative side")
        return sides

    def tensor(self) -> Tensor:
        """A shape and the values, float32."""
        if self.integer() != 2:
            raise ValueError("it has a tensor of another version")
        shape = self.shape()
        return torch.from_numpy(np.frombuffer(self.take(4 * math.prod(shape)), "<f4").astype(np.float32)).view(shape)

    def fields(self, kinds: str) -> tuple[list[Tensor], list[tuple[int, ...]]]:
        """Read fields, as in ``FIELDS``; returns the tensors and the shapes of views among them."""
        tensors, shapes = [], []
        for kind in kinds:
            if kind == "t":
                tensors.append(self.tensor())
            elif kind == "a":
                self.integer()  # the version
                shapes.append(self.shape())
            elif kind == "b":
                self.take(1)
            else:
                for _ in range(2 if kind == "f" else 1):  # a mantissa and an exponent, or an integer
                    self.integer()
        return tensors, shapes
