"""Write networks in dlib's own format, with given or random weights."""

import math

import torch

TAIL = b"110" + 3 * (b"\x01\x02" + 4 * b"\x01\x00")
"""After each layer: three flags, and three empty tensors."""


def integer(value):
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def number(value):
    mantissa, exponent = math.frexp(value)
    return integer(int(mantissa * 2**24)) + integer(exponent - 24)


def text(word):
    return integer(len(word)) + word.encode()


def shape(*sides):
    return b"".join(map(integer, sides))


def tensor(*parts):
    """One tensor of dlib; several parts are joined, as the filters and biases of a layer are."""
    flat = torch.cat([part.flatten() for part in parts])
    sides = parts[0].shape if len(parts) == 1 else (len(flat), 1, 1, 1)
    return integer(2) + shape(*sides) + flat.detach().numpy().astype("<f4").tobytes()


def view(*sides):
    return integer(1) + shape(*sides)


def convolution(filters, bias):
    sides = [len(filters), *filters.shape[2:], 1, 1, 0, 0]
    views = view(*filters.shape) + view(1, len(bias), 1, 1)
    return text("con_4") + tensor(filters, bias) + shape(*sides) + views + b"".join(map(number, (1, 1, 1, 0)))


def affine(scale, shift):
    return text("affine_") + tensor(scale, shift) + 2 * view(1, len(scale), 1, 1) + integer(0)


def dense(matrix):
    """A matrix [inputs, outputs] without biases."""
    inputs, outputs = matrix.shape
    views = view(inputs, outputs, 1, 1) + view(0, 0, 0, 0)
    numbers = b"".join(map(number, (1, 1, 1, 0)))
    return text("fc_2") + shape(outputs, inputs) + tensor(matrix.view(inputs, outputs, 1, 1)) + views + integer(1) + numbers


def network(*layers):
    """A file of dlib with these layers, from the input to the output."""
    head = integer(1) + text("loss_metric_2") + number(0.04) + number(0.6) + integer(2) * len(layers) + integer(3)
    head += text("input_rgb_image_sized") + b"".join(map(number, (122.782, 117.001, 104.298))) + shape(150, 150)
    first, *rest = (layer + TAIL for layer in layers)
    return head + first + integer(1) + b"".join(rest)


def small_network(seed=0):
    """A file of four layers, and its tensors."""
    rng = torch.Generator().manual_seed(seed)
    filters, bias, scale, shift, matrix = (
        torch.randn(sides, generator=rng) for sides in ((4, 3, 3, 3), (4,), (4,), (4,), (4, 2))
    )
    layers = convolution(filters, bias), affine(scale, shift), text("relu_"), dense(matrix)
    return network(*layers), (filters, bias, scale, shift, matrix)


def recogniser(published):
    """dlib's face recogniser in its own format, with weights in face-api's layout (filters H W I O)."""
    names = dict.fromkeys(name.removesuffix(".conv.filters") for name in published if name.endswith(".conv.filters"))
    layers = []
    for name in sorted(names, key=position):
        filters = published[f"{name}.conv.filters"].permute(3, 2, 0, 1)
        layers += [convolution(filters, published[f"{name}.conv.bias"])]
        layers += [affine(published[f"{name}.scale.weights"], published[f"{name}.scale.biases"]), text("relu_")]
        if name.endswith("down.conv2"):
            layers.append(text("avg_pool_2") + shape(2, 2, 2, 2, 0, 0))
    return network(*layers, dense(published["fc"]))


def position(name):
    """Where a convolution stands in the network."""
    width = int(name.removeprefix("conv").partition("_")[0])
    return width, "out" in name, "down" not in name, name
