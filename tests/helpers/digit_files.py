"""Small digit data sets in their original file formats."""

import bz2
import gzip
import struct

import numpy as np

from domtrans import use
from domtrans.data.domains import load_domain
from tiny import registry

RNG = np.random.default_rng(0)


def domain(name, split="train", size=32, **options):
    return load_domain(registry(), use(name, **options), split, size)


def idx(values):
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


DIGITS = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8), (np.arange(20) % 10).astype(np.uint8)


def write_mnist(folder, *, packed=True, stem="train"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip((f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"), DIGITS, strict=True):
        content = idx(values)
        (folder / (name + (".gz" if packed else ""))).write_bytes(gzip.compress(content) if packed else content)


def libsvm(images, labels):
    """LIBSVM's format: labels from 1, features from 1, values in [-1, 1]."""
    lines = []
    for image, label in zip(images, labels, strict=True):
        values = image.reshape(-1) / 127.5 - 1
        lines.append(" ".join([str(label + 1), *(f"{k}:{value:.6f}" for k, value in enumerate(values, 1))]))
    return bz2.compress(("\n".join(lines) + "\n").encode())
