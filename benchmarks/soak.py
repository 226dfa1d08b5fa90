"""Measure whether a process grows that runs everything in domtrans for hours.

python benchmarks/soak.py --hours 2 --out soak.jsonl

A round starts in an empty folder with an empty cache. It fits f, trains with validation and samples, is stopped and resumed
twice, evaluates, verifies, and transfers a folder of images with a damaged one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import statistics
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

import domtrans

STEPS = 12
SMALL = {
    "fit.steps": 10,
    "fit.batch_size": 8,
    "generator.width": 4,
    "discriminator.width": 4,
    "metrics.digits.steps": 10,
    "metrics.digits.batch_size": 8,
    "train.steps": STEPS,
    "train.batch_size": 8,
    "train.log_every": 2,
    "train.save_every": 3,
    "train.sample_every": 4,
    "train.validate_every": 4,
    "train.precision": "float32",
}
UNITS = {
    "rss_mb": "MB",
    "own_mb": "MB",
    "handles": "",
    "threads": "",
    "children": "",
    "temporary_files": "",
    "objects": "",
    "rounds": "",
}


def write_data(folder: Path) -> dict[str, str]:
    """Write two domains of bars, whose position is the class, and a folder of images with a damaged one."""
    rng, labels = np.random.default_rng(0), np.arange(64) % 4
    changes = {}
    for domain, shape in (("source", (64, 32, 32, 3)), ("target", (64, 32, 32, 1))):
        images = rng.integers(0, 60, shape, dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 4 + 7 * label : 8 + 7 * label] += 190
        np.savez(folder / f"{domain}.npz", images=images, labels=labels)
        changes |= {domain: "arrays", f"{domain}.path": str(folder / f"{domain}.npz"), f"{domain}.holdout": "0.25"}
        if domain == "source":
            (folder / "images").mkdir()
            for number, image in enumerate(images):
                Image.fromarray(image).save(folder / "images" / f"{number}.png")
    (folder / "images" / "broken.png").write_bytes(b"not an image")
    return changes


def one_round(folder: Path, number: int) -> None:
    """Run everything once, with another seed each time; raises if a result is wrong."""
    os.environ["DOMTRANS_CACHE"] = str(folder / "cache")
    changes = write_data(folder) | SMALL | {"seed": number}
    stops = sorted(random.Random(number).sample(range(1, STEPS), 2))
    for at in (*stops, None):
        stop = threading.Event()

        def listen(progress: domtrans.Progress, at: int | None = at, stop: threading.Event = stop) -> None:
            if at is not None and progress.phase == "train" and progress.step >= at:
                stop.set()

        try:
            domtrans.train("digits-dtn-paper", folder / "run", overrides=changes, device="cpu", listeners=(listen,), stop=stop)
        except domtrans.Stopped:
            continue
    run = domtrans.load(folder / "run", device="cpu")
    run.evaluate()
    assert not domtrans.verify(run).differences
    done = domtrans.transfer(run, folder / "images", folder / "transferred")
    assert (len(done.written), len(done.failed)) == (64, 1)


def measure(start: float, rounds: int, temporary: Path) -> dict[str, float]:
    """The resources of this process, after garbage collection."""
    gc.collect()
    process = psutil.Process()
    memory = process.memory_full_info()
    return {
        "seconds": round(time.monotonic() - start, 1),
        "rounds": rounds,
        "rss_mb": round(memory.rss / 1e6, 1),
        "own_mb": round(memory.uss / 1e6, 1),
        "handles": process.num_fds(),
        "threads": process.num_threads(),
        "children": len(process.children(recursive=True)),
        "temporary_files": sum(1 for _ in temporary.rglob("*")),
        "objects": len(gc.get_objects()),
    }


def soak(out: Path, hours: float, share: float, every: float) -> None:
    """Run rounds until the time is over, with pauses between them; measure every ``every`` seconds."""
    start, rounds, next_measurement = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory(prefix="soak-") as name, out.open("w") as log:
        tempfile.tempdir = name  # so that temporary files that are left behind are counted
        while (now := time.monotonic() - start) < hours * 3600:
            if now >= next_measurement:
                log.write(json.dumps(measure(start, rounds, Path(name))) + "\n")
                log.flush()
                next_measurement += every
            cpu_start = time.process_time()
            with tempfile.TemporaryDirectory(prefix="round-") as folder:
                one_round(Path(folder), rounds)
            rounds += 1
            time.sleep((time.process_time() - cpu_start) * (1 / share - 1))
        log.write(json.dumps(measure(start, rounds, Path(name))) + "\n")
    tempfile.tempdir = None


def summary(out: Path) -> str:
    """A Markdown table: medians of the first and the last quarter, and the slope of a line through all but the first."""
    measurements = [json.loads(line) for line in out.read_text().splitlines()]
    quarter = max(len(measurements) // 4, 1)
    hours = [line["seconds"] / 3600 for line in measurements[quarter:]]
    rows = ["| | first quarter | last quarter | per hour, after the first quarter |", "|---|---|---|---|"]
    for name, unit in UNITS.items():
        values = [line[name] for line in measurements]
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        slope = statistics.linear_regression(hours, values[quarter:]).slope if len(set(hours)) > 1 else 0.0
        rows.append(f"| {name} | {first:,.0f} {unit} | {last:,.0f} {unit} | {slope:+,.2f} {unit} |".replace("  ", " "))
    return "\n".join(rows)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("soak.jsonl"), help="file with one line per measurement")
    parser.add_argument("--share", type=float, default=0.3, help="share of a core to use; otherwise the process sleeps")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between measurements")
    options = parser.parse_args()
    warnings.simplefilter("error")
    soak(options.out, options.hours, options.share, options.every)
    print(summary(options.out))


if __name__ == "__main__":
    main()
