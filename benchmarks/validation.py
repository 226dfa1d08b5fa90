"""How the label-free scores of validation go along with what the evaluator reads, as digits-dtn learns: docs/health.md.

python benchmarks/validation.py [--steps 400] [--every 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import domtrans


def train_to(step: int, folder: Path, changes: dict[str, int]) -> dict[str, float]:
    """Take the run up to a step, exactly as if it went on, and return what its log says there."""
    stop = threading.Event()

    def listen(progress: domtrans.Progress) -> None:
        if progress.phase == "train" and progress.step == step < progress.steps:
            stop.set()

    with suppress(domtrans.Stopped):
        domtrans.train("digits-dtn", folder, overrides=changes, listeners=(listen,), stop=stop)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return next(line for line in reversed(lines) if line["step"] == step and "validation.score" in line)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    changes = {"train.steps": given.steps, "train.validate_every": given.every, "seed": given.seed}
    print("| step | agreement | realism | score | read rightly by the evaluator |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for step in range(given.every, given.steps + 1, given.every):
            line = train_to(step, Path(folder) / "run", changes)
            scores = [line[f"validation.{name}"] for name in ("agreement", "realism", "score")]
            accuracy = domtrans.evaluate(Path(folder) / "run")["accuracy"]
            print(f"| {step} | {' | '.join(f'{score:.3f}' for score in scores)} | {accuracy:.1%} |", flush=True)


if __name__ == "__main__":
    main()
