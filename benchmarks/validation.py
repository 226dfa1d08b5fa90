"""Compare the label-free validation scores with the accuracy of the evaluator during a training of digits-dtn.

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
    """Train to a step, exactly as in one run, and return the last line of the log."""
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
    options = parser.parse_args()
    changes = {"train.steps": options.steps, "train.validate_every": options.every, "seed": options.seed}
    print("| step | agreement | realism | score | transfer accuracy |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for step in range(options.every, options.steps + 1, options.every):
            line = train_to(step, Path(folder) / "run", changes)
            scores = [line[f"validation.{name}"] for name in ("agreement", "realism", "score")]
            accuracy = domtrans.evaluate(Path(folder) / "run")["accuracy"]
            print(f"| {step} | {' | '.join(f'{score:.3f}' for score in scores)} | {accuracy:.1%} |", flush=True)


if __name__ == "__main__":
    main()
