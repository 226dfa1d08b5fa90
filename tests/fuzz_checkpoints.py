"""Throw damaged and hostile files at ``load``, at resuming and at ``read_weights``; each is refused in one sentence, or works.

``python tests/fuzz_checkpoints.py --cases 100000 --seed 1``; tests/test_fuzz_checkpoints.py runs a few of them.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import pickle
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from domtrans import (
    Discriminator,
    DomtransError,
    Encoder,
    Generator,
    ImageSet,
    Loss,
    Recipe,
    Session,
    hookimpl,
    load,
    load_plugins,
    term,
    train,
    use,
)
from domtrans.experiment import prepare
from domtrans.runfolder import RunFolder
from domtrans.tensors import read_tensors, write_tensors
from domtrans.trainer import Trainer
from domtrans.weights import read_weights

SECONDS, MEGABYTES = 5.0, 200
"""What no case may take, in time and in memory beyond that of the cases before it."""


class F(Encoder):
    """f in 800 numbers."""

    channels = 3

    def __init__(self, size: int, classes: int, *, width: int = 4, depth: int = 1) -> None:
        super().__init__()
        self.feature_size = width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, width))
        for _ in range(depth - 1):
            self.layers.append(nn.Linear(width, width))
        self.head = nn.Linear(width, max(classes, 1))

    def forward(self, images):
        return self.layers(images.float())

    def logits(self, features):
        return self.head(features)


class PeekingF(F):
    """The same, but its constructor looks at its weights, which have no values on the meta device."""

    def __init__(self, size: int, classes: int, *, width: int = 4, depth: int = 1) -> None:
        super().__init__(size, classes, width=width, depth=depth)
        self.norm = float(self.head.weight.norm())


class G(Generator):
    """g in 320 numbers."""

    def __init__(self, feature_size: int, channels: int, size: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.shape, self.gain = (channels, size, size), gain
        self.layers = nn.Sequential(nn.Linear(feature_size, channels * size * size), nn.BatchNorm1d(channels * size * size))

    def forward(self, features):
        return torch.tanh(self.gain * self.layers(features).float()).unflatten(1, self.shape)


class D(Discriminator):
    """D in 200 numbers."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, 3))

    def forward(self, images):
        return self.layers(images.float())


class Pull(Loss):
    """Something to learn."""

    reads = frozenset({"source_fake", "source_fake_features", "source_fake_logits"})

    def __init__(self, *, power: int = 2) -> None:
        super().__init__()
        self.power = power

    def forward(self, seen):
        return seen.source_fake.pow(self.power).mean() + seen.source_fake_logits.mean() + seen.source_fake_features.mean()


class Push(Loss):
    """Something for D to learn."""

    reads = frozenset({"source_fake_logits", "target_logits"})

    def forward(self, seen):
        return seen.target_logits.mean() - seen.source_fake_logits.mean()


def squares(split: str, size: int, *, count: int = 8) -> ImageSet:
    """Noise with labels."""
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(count) % 2, ("a", "b"))


class Plugin:
    """Parts so small that a case takes milliseconds."""

    @hookimpl
    def register(self, registry):
        registry.encoder("tiny-f", F)
        registry.encoder("peeking-f", PeekingF)
        registry.generator("tiny-g", G)
        registry.discriminator("tiny-d", D)
        registry.loss("pull", Pull)
        registry.loss("push", Push)
        registry.domain("squares", squares)


def recipe() -> Recipe:
    return Recipe(
        name="tiny",
        image_size=8,
        source=use("squares"),
        target=use("squares"),
        encoder={"name": "tiny-f"},
        generator=use("tiny-g"),
        discriminator=use("tiny-d"),
        generator_losses={"pull": term("pull")},
        discriminator_losses={"push": term("push")},
        train={"steps": 2, "batch_size": 2, "precision": "float32"},
    )


# What JSON may hold where something else is expected.
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
    """The tree with a few of its values, keys or branches changed."""
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
    """A copy: what is put into a tree may be changed there."""
    return copy.deepcopy(rng.choice(EVIL))


def branches(tree: object):
    """Every table and list of a tree."""
    if isinstance(tree, dict | list):
        yield tree
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from branches(inner)


def nested(rng: random.Random) -> str:
    """JSON that is deep, or wide, or neither."""
    depth = rng.choice((10, 60, 500, 2000, 200_000))
    return rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth, "9" * depth))


def damage(rng: random.Random, whole: bytes) -> bytes:
    """Flipped bits, pieces cut out, repeated, moved or made up."""
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
    """The same data under a header whose JSON was changed."""
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
    """Tensors and metadata that were changed by someone who then put the right checksum to them."""
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


class Bench:
    """A good run to break, and what is done with the pieces."""

    def __init__(self, folder: Path) -> None:
        self.registry = load_plugins(Plugin()).registry
        self.good = train(recipe(), folder / "good", device="cpu", registry=self.registry).path
        self.folder = RunFolder(folder / "bad")
        self.folder.path.mkdir()
        session = Session.start("cpu", precision="float32")
        self.trainer = Trainer(prepare(recipe().resolve(self.registry), self.registry, session), session)
        self.trainer.step()
        self.image, self.taken = torch.zeros(1, 3, 8, 8), 0.0
        torch.save(self.trainer.D.state_dict(), self.good / "weights.pth")
        self.wholes = {
            name: (self.good / name).read_bytes() for name in ("model.safetensors", "training.safetensors", "weights.pth")
        }

    def case(self, seed: int) -> str:
        """One broken file, tried: the kind of case and what came of it. Raises whatever should not have come."""
        rng = random.Random(seed)
        name = rng.choice(list(self.wholes))
        kind = rng.choice(("damaged", "reheaded", "forged", "forged", "other"))
        path = self.folder.path / name
        try:
            if kind == "forged" and name != "weights.pth":
                write_tensors(path, *forged(rng, self.good / name))
            elif kind == "reheaded" and name != "weights.pth":
                path.write_bytes(reheaded(rng, self.wholes[name]))
            else:
                path.write_bytes(other_file(rng) if kind == "other" else damage(rng, self.wholes[name]))
        except (DomtransError, ValueError, OverflowError, RuntimeError, UnicodeError):
            return "not to be written"
        began = time.perf_counter()
        try:
            self.use(name, path)
            outcome = "used"
        except DomtransError as error:
            assert str(error).isprintable() and len(str(error)) <= 2000
            outcome = "refused"
        finally:
            path.unlink()
            self.taken = time.perf_counter() - began
        assert not Trap.sprung, "a pickle has run code"
        return f"{name} {kind} {outcome}"

    def use(self, name: str, path: Path) -> None:
        """Load, resume or take up weights, and compute something with what was read."""
        if name == "model.safetensors":
            run = load(self.folder.path, device="cpu", registry=self.registry)
            assert run.transfer(self.image).shape[0] == 1
        elif name == "training.safetensors":
            state = self.folder.load_training()
            assert state is not None
            self.trainer.load_state(state)
            self.trainer.step()
        else:
            weights = read_weights(path)
            assert sum(tensor.numel() for tensor in weights.values()) <= path.stat().st_size


def peak() -> float:
    """Megabytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(cases: int, seed: int = 0, tell=None) -> tuple[Counter, list[str]]:
    """Try so many cases: how often each outcome came, and what should not have happened, with the case to repeat it."""
    outcomes, faults = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bench = Bench(Path(folder))
        bench.case(0)
        before = peak()
        for number in range(seed * 10**9, seed * 10**9 + cases):
            try:
                outcomes[bench.case(number)] += 1
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                faults.append(f"case {number}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            taken, now = bench.taken, peak()
            if taken > SECONDS or now - before > MEGABYTES:
                faults.append(f"case {number}: took {taken:.1f} s and {now - before:.0f} MB")
            before = max(before, now)
            if tell and (number + 1) % 1000 == 0:
                tell(number + 1 - seed * 10**9, faults, before)
    return outcomes, faults


def main() -> None:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()

    def tell(done: int, faults: list[str], memory: float) -> None:
        line = f"{done:,} cases, {len(faults)} faults, {time.perf_counter() - began:.0f} s, peak {memory:.0f} MB"
        print(line, *faults[-1:], flush=True)  # noqa: T201

    outcomes, faults = fuzz(options.cases, options.seed, tell)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:8,}  {outcome}")  # noqa: T201
    print("\n".join(faults) or "no faults")  # noqa: T201
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
