"""Transfer a folder of very many pictures of which three are broken: how fast, and does memory stay where it is?

python benchmarks/many_pictures.py RUN [--count 100000]

RUN is any trained run. Fails unless every good picture is transferred, the broken ones are named and the command exits with 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

SIDE = 32
A_FOLDER = 1000
"""Pictures in each of the folders below the one that is transferred."""


def draw(folder: Path, count: int) -> list[Path]:
    """So many pictures of noise, no two alike, of which three are broken; returns those."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number // A_FOLDER:04d}" / f"{number:07d}.png" for number in range(count)]
    broken = [paths[count // 10], paths[count // 2], paths[-1]]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
        if path in broken:
            path.write_bytes(path.read_bytes()[:100])
    return broken


def transfer(run: str, folder: Path, out: Path, log: Path) -> tuple[int, float, list[float]]:
    """The command in a process of its own: exit code, seconds, and megabytes it held, twice a second once it writes."""
    began, held = time.perf_counter(), []
    with log.open("w") as file:
        command = [sys.executable, "-m", "domtrans", "transfer", run, str(folder), str(out), "--device", "cpu"]
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"NO_COLOR": "1"})
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            time.sleep(0.5)
            try:
                now = watched.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                break
            if out.exists() and now:
                held.append(now)
    return process.wait(), time.perf_counter() - began, held


def main() -> None:
    """Draw, transfer, check, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a folder with a trained run")
    parser.add_argument("--count", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        broken = draw(place / "in", given.count)
        code, seconds, held = transfer(given.run, place / "in", place / "out", place / "log")
        said = (place / "log").read_text()
        written = sum(1 for _ in (place / "out").rglob("*.png"))
    assert (code, written) == (1, given.count - 3), (code, written, said)
    assert all(str(path) in said for path in broken) and "3 files could not be read" in said, said
    quarter = max(len(held) // 4, 1)
    first, last = statistics.median(held[:quarter]), statistics.median(held[-quarter:])
    print(f"{written:,} pictures written, 3 named, exit code {code}; {seconds:.0f} s, {given.count / seconds:.0f} a second")
    print(f"memory: {first:.0f} MB in the first quarter, {last:.0f} MB in the last, {max(held):.0f} MB at most")


if __name__ == "__main__":
    main()
