"""Broken files: damaged by accident, changed by hand, and forged with a valid checksum."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import struct
import zipfile
from pathlib import Path

import torch

from domtrans.storage.tensors import read_tensors

# Values of JSON in places where another type is expected.
EVIL = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    10**9,
    2**31,
    2**63 - 1,
    2**64,
    10**30,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "none",
    "x" * 100_000,
    "../../etc/passwd",
    "/dev/zero",
    "a\nb\x1b[31m",
    "\0",
    "é\u202e",
    [],
    {},
    [[]],
    [None] * 1000,
    {"name": "tiny-f"},
    {"name": "x" * 1000},
    {"name": "tiny-f", "options": {"width": 10**9}},
    {"name": "tiny-f", "width": 10**9},
    {"name": "tiny-f", "depth": 10**12},
    {"name": "digit-encoder", "head": 10**12},
    ["a"] * 20_000,
    {str(i): i for i in range(1000)},
]


def mutated(rng: random.Random, tree: object) -> object:
    """The tree with some values, keys or branches changed."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        spots = [(node, key) for node in branches(tree) for key in (node if isinstance(node, dict) else range(len(node)))]
        if not spots:
            return evil(rng)
        node, key = rng.choice(spots)
        match rng.randrange(6):
            case 0 | 1 | 2:
                node[key] = evil(rng)
            case 3:
                del node[key]
            case 4 if isinstance(node[key], int | float):
                node[key] = rng.choice((-node[key], node[key] + 1, node[key] * 10**6, str(node[key])))
            case 5 if isinstance(node, dict):
                node[rng.choice(("name", "width", "depth", "x", "", "__metadata__"))] = node[key]
            case _:
                node[key] = {"name": node[key]} if rng.random() < 0.5 else [node[key]]
    return tree


def evil(rng: random.Random) -> object:
    """A copy, because a tree with it may be changed further."""
    return copy.deepcopy(rng.choice(EVIL))


def branches(tree: object):
    """Every table and list of a tree."""
    if isinstance(tree, dict | list):
        yield tree
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from branches(inner)


def nested(rng: random.Random) -> str:
    """JSON that is deeply nested, a long number, or incomplete."""
    depth = rng.choice((10, 60, 500, 2000, 200_000))
    return rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth, "9" * depth))


def damage(rng: random.Random, whole: bytes) -> bytes:
    """Content with flipped bits, or with pieces removed, repeated or replaced."""
    content = bytearray(whole)
    head = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(rng.choice((1, 1, 2, 8))):
        size = max(len(content), 1)
        place = rng.randrange(min(head, size) if rng.random() < 0.6 else size)
        length = rng.choice((1, 4, 8, 64, 1024))
        match rng.randrange(8):
            case 0 | 1 if content:
                content[place] ^= 1 << rng.randrange(8)
            case 2:
                del content[place:]
            case 3:
                del content[place : place + length]
            case 4:
                content[place:place] = content[place : place + length]
            case 5:
                content[place : place + length] = rng.randbytes(length)
            case 6:
                content[:8] = struct.pack("<Q", rng.choice((0, 1, 2**20, 2**27, 2**40, 2**63, rng.randrange(2 * head))))
            case _:
                content += rng.randbytes(length)
    return bytes(content)


def reheaded(rng: random.Random, whole: bytes) -> bytes:
    """The same data with a changed JSON header."""
    length = int.from_bytes(whole[:8], "little")
    changed = json.dumps(mutated(rng, json.loads(whole[8 : 8 + length])))
    header = (nested(rng) if rng.random() < 0.1 else changed).encode()
    return struct.pack("<Q", len(header)) + header + whole[8 + length :]


ODD = [
    lambda t: t.new_tensor(float("nan")).expand(t.shape) if t.is_floating_point() else t,
    lambda t: torch.full_like(t, float("inf")) if t.is_floating_point() else t,
    lambda t: torch.full_like(t, 3e38) if t.is_floating_point() else t - 1,
    lambda t: torch.zeros(0),
    lambda t: torch.zeros(0, 2**40),
    lambda t: t[None],
    lambda t: t.flatten(),
    lambda t: t.double(),
    lambda t: t.half(),
    lambda t: t.bfloat16(),
    lambda t: t.to(torch.int8),
    lambda t: t.to(torch.bool),
    lambda t: t.to(torch.complex64),
    lambda t: t.to(torch.float8_e4m3fn),
    lambda t: torch.tensor(-5),
    lambda t: torch.tensor(2**62),
    lambda t: torch.cat([t.flatten(), t.flatten()]),
]
NAMES = [
    "",
    "../../x",
    "/etc/passwd",
    "a\0b",
    "x" * 10_000,
    "__metadata__x",
    "step",
    "generator.",
    "generator_optimizer.-1.step",
]


def forged(rng: random.Random, whole: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Changed tensors and metadata, to be written with a valid checksum."""
    tensors, metadata = read_tensors(whole)
    for _ in range(rng.choice((0, 1, 1, 3))):
        name = rng.choice(sorted(tensors) or [""])
        match rng.randrange(4):
            case 0 | 1 if name in tensors:
                tensors[name] = rng.choice(ODD)(tensors[name])
            case 2:
                tensors.pop(name, None)
            case _:
                tensors[rng.choice(NAMES) + rng.choice(("", name))] = torch.zeros(2)
    tensors.pop("__metadata__", None)
    for key in ("recipe", "about", "format"):
        if key in metadata and rng.random() < 0.45:
            try:
                metadata[key] = json.dumps(mutated(rng, json.loads(metadata[key])))
            except ValueError:
                metadata[key] = str(rng.choice(EVIL))
            if rng.random() < 0.08:
                metadata[key] = nested(rng)
            if rng.random() < 0.05:
                del metadata[key]
    return tensors, metadata


class Trap:
    """Runs code when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def other_file(rng: random.Random) -> bytes:
    """A file of another kind under the name of a checkpoint."""
    archive = io.BytesIO()
    match rng.randrange(6):
        case 0:
            return pickle.dumps({"weights": [1, Trap()]})
        case 1:
            torch.save({"weights": torch.ones(2), "x": Trap()}, archive)
        case 2:
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("archive/data.pkl", b"\0" * 10**6)
        case 3:
            return rng.randbytes(rng.choice((0, 1, 7, 8, 9, 1000)))
        case 4:
            header = b'{"__metadata__":{"format":"domtrans-1"}}'
            return struct.pack("<Q", len(header)) + header
        case 5:
            torch.save({"layers.1.weight": torch.ones(1).expand(2**20), "b": torch.ones(2).to_sparse()}, archive)
    return archive.getvalue()
