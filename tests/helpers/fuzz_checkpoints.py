"""Give damaged and hostile files to ``load``, to resuming and to ``read_weights``: each works, or is refused in one sentence.

``python tests/helpers/fuzz_checkpoints.py --cases 100000 --seed 1``; tests/runs/test_fuzz_model_files.py runs a few of them.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import psutil
import torch

from broken_files import Trap, damage, forged, other_file, reheaded
from domtrans import DomtransError, Session, load, load_plugins, train
from domtrans.model.weights import read_weights
from domtrans.runs.folder import RunFolder
from domtrans.storage.tensors import write_tensors
from domtrans.training.checkpoint import load_training_state
from domtrans.training.experiment import prepare
from domtrans.training.trainer import Trainer
from tiny_parts import Plugin, recipe
from work import Calls

CALLS, MEGABYTES = 1_000_000, 200
"""Limits of a case: function calls, and memory beyond that of the cases before it."""


class Bench:
    """A valid run, and functions that break its files and use them."""

    def __init__(self, folder: Path) -> None:
        self.registry = load_plugins(Plugin()).registry
        self.good = train(recipe(), folder / "good", device="cpu", registry=self.registry).path
        self.folder = RunFolder(folder / "bad")
        self.folder.path.mkdir()
        session = Session.start("cpu", precision="float32")
        self.trainer = Trainer(prepare(recipe().resolve(self.registry), self.registry, session), session)
        self.trainer.step()
        self.image, self.calls = torch.zeros(1, 3, 8, 8), 0
        torch.save(self.trainer.D.state_dict(), self.good / "weights.pth")
        self.wholes = {
            name: (self.good / name).read_bytes() for name in ("model.safetensors", "training.safetensors", "weights.pth")
        }

    def case(self, seed: int) -> str:
        """Try one broken file: returns its kind and the outcome. Raises any exception that is not allowed."""
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
            return "could not be written"
        try:
            with Calls() as calls:
                self.use(name, path)
            outcome = "used"
        except DomtransError as error:
            assert str(error).isprintable() and len(str(error)) <= 2000
            outcome = "refused"
        finally:
            path.unlink()
            self.calls = calls.count
        assert not Trap.sprung, "a pickle has run code"
        return f"{name} {kind} {outcome}"

    def use(self, name: str, path: Path) -> None:
        """Load, resume or read weights, and compute with the result."""
        if name == "model.safetensors":
            run = load(self.folder.path, device="cpu", registry=self.registry)
            assert run.transfer(self.image).shape[0] == 1
        elif name == "training.safetensors":
            state = self.folder.load_training()
            assert state is not None
            load_training_state(self.trainer, state)
            self.trainer.step()
        else:
            weights = read_weights(path)
            assert sum(tensor.numel() for tensor in weights.values()) <= path.stat().st_size


def peak() -> float:
    """Peak memory of this process in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(cases: int, seed: int = 0, tell=None) -> tuple[Counter, list[str]]:
    """Try ``cases`` cases: returns how often each outcome occurred, and the faults with the number of their case."""
    outcomes, faults = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bench = Bench(Path(folder))
        bench.case(0)
        before = peak()
        for number in range(seed * 10**9, seed * 10**9 + cases):
            try:
                outcomes[bench.case(number)] += 1
            except Exception as error:  # noqa: BLE001 - this is what the fuzzer looks for
                faults.append(f"case {number}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            now = peak()
            if bench.calls > CALLS or now - before > MEGABYTES:
                faults.append(f"case {number}: took {bench.calls:,} calls and {now - before:.0f} MB")
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
        now = psutil.Process().memory_info().rss / 2**20  # the peak never falls, so it alone would not show a leak
        line = f"{done:,} cases, {len(faults)} faults, {time.perf_counter() - began:.0f} s, peak {memory:.0f}, now {now:.0f} MB"
        print(line, *faults[-1:], flush=True)  # noqa: T201

    outcomes, faults = fuzz(options.cases, options.seed, tell)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:8,}  {outcome}")  # noqa: T201
    print("\n".join(faults) or "no faults")  # noqa: T201
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
