"""Check domtrans on a GPU, train its recipes there, and write docs/gpu.md.

python benchmarks/gpu.py [CHECK ...] [--device DEVICE] [--data-dir DIR] [--out FILE]
python benchmarks/gpu.py --device cpu --quick --out gpu.md    # try this script without a GPU

The checks come first and take about a minute; trainings and speed follow. The page is written after every row, so Ctrl-C loses
no results. The exit code is 1 if a check failed. --data-dir is a folder with MNIST and SVHN in their original files; without
it, svhn-dtn is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from domtrans import Progress, Session, Stopped, find_recipe, load_plugins, override, train
from domtrans.compute.capture import WARM_UP_CALLS
from domtrans.reporting.markdown import markdown_table
from domtrans.storage.atomic import write_bytes
from domtrans.training.experiment import prepare
from domtrans.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
SMALL = {
    "source.count": 512,
    "source.test_count": 64,
    "fit": None,
    "adapt": None,
    "metrics": {},
    "train.balance_source": False,
    "train.batch_size": 32,
}
"""A recipe of drawn digits without a fit: seconds from its start to its end."""
PARITY_STEPS = 200
MAX_RELATIVE_DIFFERENCE = 0.02
"""Of a loss in float32 between two devices, or two forms of a step, after a few steps."""

HEAD = """# GPU

    make gpu

The command checks domtrans on the GPU of this machine, trains recipes, measures their speed, and
writes this page. It takes about 15 minutes. `benchmarks/gpu.py` describes every check.

"""


@dataclass(frozen=True)
class Settings:
    """What was asked for: the device, whether only to try the script, and the folder with MNIST and SVHN."""

    device: str
    quick: bool
    data_dir: str | None

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")


class NotHereError(Exception):
    """A check that has nothing to check on this machine; says why."""


def small_trainer(device: str, **changes: Any) -> Trainer:
    """A trainer of drawn digits at step 0, with the initial weights that seed 0 gives on every device."""
    registry = load_plugins().registry
    recipe = override(find_recipe("digits-dtn-paper", registry), SMALL | changes, registry)
    session = Session.start(device, precision=recipe.train.precision, seed=0)
    torch.manual_seed(0)
    return Trainer(prepare(recipe, registry, session), session.during("train"))


def losses_after(trainer: Trainer, steps: int) -> dict[str, float]:
    """The losses of the last of some steps."""
    losses = [trainer.step() for _ in range(steps)][-1]
    return {name: float(value) for name, value in losses.items()}


def largest_difference(one: dict[str, float], other: dict[str, float]) -> float:
    """The largest relative difference of two losses of the same name."""
    return max(abs(value - other[name]) / max(abs(value), 1e-3) for name, value in one.items())


def same_as_on_a_cpu(settings: Settings) -> str:
    """Three steps in float32 give the losses that they give on a CPU."""
    changes = {"train.precision": "float32"} | ({"source.count": 64, "train.batch_size": 8} if settings.quick else {})
    difference = largest_difference(*(losses_after(small_trainer(name, **changes), 3) for name in ("cpu", settings.device)))
    assert difference < MAX_RELATIVE_DIFFERENCE, f"losses differ by {difference:.2%}"
    return f"losses differ by at most {difference:.1e}"


def steps_do_not_wait(settings: Settings) -> str:
    """No step makes the host wait for the GPU: torch raises an error where one does."""
    if not settings.is_gpu:
        raise NotHereError("only a GPU computes while the host goes on")
    variants = (
        {},
        {"train.updates": "separate", "train.discriminator_floor": 1.0},
        {"train.accumulate": 2},
        {"train.capture": True},
    )
    for changes in variants:
        trainer = small_trainer(settings.device, **changes)
        for _ in range(WARM_UP_CALLS + 1):
            trainer.step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                trainer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return f"no wait in {3 * len(variants)} steps"


def like_eager(option: str) -> Callable[[Settings], str]:
    """A check that steps with an option end where eager steps end, by the mean losses of the last 20."""

    def check(settings: Settings) -> str:
        if option == "train.capture" and not settings.is_gpu:
            raise NotHereError("only a GPU records CUDA graphs")
        steps, means = 4 if settings.quick else PARITY_STEPS, []
        for chosen in (False, True):
            trainer = small_trainer(settings.device, **{"train.precision": "float32", option: chosen})
            losses = [{name: float(value) for name, value in trainer.step().items()} for _ in range(steps)][-20:]
            means.append({name: sum(each[name] for each in losses) / len(losses) for name in losses[0]})
        difference = largest_difference(*means)
        assert difference < 5 * MAX_RELATIVE_DIFFERENCE, f"losses differ by {difference:.2%}"
        return f"mean losses of the last 20 of {steps} steps differ by at most {difference:.2%}"

    check.__doc__ = f"{PARITY_STEPS} steps with `{option}=true` end where eager steps end"
    return check


def resumes_exactly(settings: Settings) -> str:
    """A run that is stopped and resumed ends with the weights of one that is not, bit for bit (train.deterministic=true)."""
    steps = 8 if settings.quick else 60
    changes = SMALL | {"train.steps": steps, "train.deterministic": True, "train.log_every": 1}
    stop = threading.Event()

    def stop_in_the_middle(progress: Progress) -> None:
        if progress.phase == "train" and progress.step >= steps // 2:
            stop.set()

    with tempfile.TemporaryDirectory() as folder:
        arguments: dict[str, Any] = {"overrides": changes, "device": settings.device, "progress": False}
        whole = train("digits-dtn-paper", Path(folder, "whole"), **arguments)
        parts = Path(folder, "parts")
        try:
            train("digits-dtn-paper", parts, listeners=(stop_in_the_middle,), stop=stop, **arguments)
        except Stopped:
            resumed = train("digits-dtn-paper", parts, **arguments)
        weights = [run.model.state_dict() for run in (whole, resumed)]
    unequal = [name for name, tensor in weights[0].items() if not torch.equal(tensor, weights[1][name])]
    assert not unequal, f"{len(unequal)} tensors differ, e.g. {unequal[0]}"
    return f"{len(weights[0])} tensors equal after {steps} steps"


def training(recipe: str, metrics: Sequence[str], *changes: str, fit: str = "fit") -> Callable[[Settings], str]:
    """A check that trains a recipe to its end, and reports metrics and peak memory; ``fit`` is the path of its fit of f."""

    def check(settings: Settings) -> str:
        quick = ["train.steps=4", f"{fit}.steps=2", "source.count=64"] if settings.quick else []
        with tempfile.TemporaryDirectory() as folder:
            arguments = [
                "train",
                recipe,
                *changes,
                *quick,
                "--device",
                settings.device,
                "--out",
                str(Path(folder, "run")),
                "-q",
            ]
            domtrans(*arguments)
            results = json.loads(Path(folder, "run", "results.json").read_text())
            lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
        memory = max(json.loads(line).get("memory_mb", 0) for line in lines)
        found = [f"{name} {results[name]:.4g}" for name in metrics if isinstance(results.get(name), int | float)]
        return ", ".join([*found, f"peak memory {memory:,.0f} MB"])

    check.__doc__ = f"`domtrans train {' '.join([recipe, *changes])}`"
    return check


def svhn(settings: Settings) -> str:
    """`domtrans train svhn-dtn source.root=DIR target.root=DIR`"""
    if settings.data_dir is None:
        raise NotHereError("needs --data-dir, a folder with SVHN and MNIST")
    places = (f"source.root={settings.data_dir}", f"target.root={settings.data_dir}")
    return training("svhn-dtn", ["accuracy"], *places, fit="fit.of")(settings)


def speed(recipe: str, batch_size: int) -> Callable[[Settings], str]:
    """A check that times a step beside the plain loop, and on a GPU beside compiled and recorded steps."""

    def check(settings: Settings) -> str:
        size, steps = (16, 1) if settings.quick else (batch_size, 20)
        changes = ["train.compile=true", "train.capture=true"] if settings.is_gpu else []
        against = [word for other in ("plain", *changes) for word in ("--against", other)]
        words = ["bench", recipe, "--batch-size", str(size), "--steps", str(steps), "--device", settings.device, "--json", "-q"]
        data = json.loads(domtrans(*words, *against))
        ours, plain = (data["times"][name] for name in ("domtrans", "plain loop"))
        bound = max(data["floor"]["arithmetic_seconds"], data["floor"]["traffic_seconds"])
        memory = f", peak memory {data['memory_mb']:,.0f} MB" if "memory_mb" in data else ""
        other = "".join(f"; {change} {data['times'][change]['ratio']:.2f} times" for change in changes)
        return (
            f"{1000 * ours['median']:.3g} ms a step, {2 * size / ours['median']:,.0f} images/s; plain loop "
            f"{plain['ratio']:.2f} times as long{other}; lower bound {bound / ours['median']:.0%} of the step{memory}"
        )

    check.__doc__ = f"`domtrans bench {recipe} --batch-size {batch_size}`"
    return check


def domtrans(*words: str) -> str:
    """Run a command of domtrans; returns its output."""
    command = [sys.executable, "-m", "domtrans", *words]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


CHECKS: dict[str, Callable[[Settings], str]] = {
    "parity": same_as_on_a_cpu,
    "waits": steps_do_not_wait,
    "compile": like_eager("train.compile"),
    "capture": like_eager("train.capture"),
    "resume": resumes_exactly,
    "digits": training("digits-dtn", ["accuracy"]),
    "svhn": svhn,
    "faces": training("faces-dtn", ["attribute_balanced_accuracy", "diversity", "fid"]),
    "speed-128": speed("digits-dtn-paper", 128),
    "speed-4096": speed("digits-dtn-paper", 4096),
    "speed-faces": speed("faces-dtn", 128),
}


def run_checks(names: Sequence[str], settings: Settings) -> Iterator[tuple[str, str, str, float]]:
    """``(name, "passed", "failed" or "skipped", result, seconds)`` of every check."""
    for name in names:
        print(f"{name}: {CHECKS[name].__doc__}", flush=True)
        start = time.perf_counter()
        try:
            outcome, result = "passed", CHECKS[name](settings)
        except NotHereError as reason:
            outcome, result = "skipped", str(reason)
        except Exception as error:  # noqa: BLE001 - the other checks go on, and the page says what failed
            traceback.print_exc()
            outcome, result = "failed", " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"  {outcome}: {result}", flush=True)
        yield name, outcome, result, time.perf_counter() - start


def circumstances(device: str) -> str:
    """The device, the versions and the date, as a sentence."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    driver = f", CUDA {torch.version.cuda}" if device.startswith("cuda") else ""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Measured on {name}, torch {torch.__version__}{driver}, Python {python}, {datetime.now(UTC):%Y-%m-%d}, seed 0."


def main() -> int:
    """Run the checks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(CHECKS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="a few steps each, to try this script")
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu.md")
    given = parser.parse_args()
    unknown = sorted(set(given.checks) - set(CHECKS))
    if unknown:
        parser.error(f"there is no check '{unknown[0]}'; checks: {', '.join(CHECKS)}")
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("this machine has no GPU that torch can use; --device cpu --quick tries the script without one")
    settings = Settings(given.device, given.quick, given.data_dir)
    rows: list[tuple[str, ...]] = []
    for name, outcome, result, seconds in run_checks(given.checks or list(CHECKS), settings):
        rows.append((CHECKS[name].__doc__ or name, outcome, result, f"{seconds:.0f} s"))
        table = "\n".join(markdown_table(["check", "", "result", "time"], rows))
        write_bytes(given.out, f"{HEAD}{circumstances(given.device)}\n\n{table}\n".encode())
    return int(any(outcome == "failed" for _, outcome, _, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
