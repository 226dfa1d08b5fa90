"""Transfer a folder of very many images, three of which are damaged, and measure speed and memory.

python benchmarks/many_images.py RUN [--count 100000]

RUN is any trained run. It fails unless all good images are transferred, the damaged ones are named, and the exit code is 1.
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

IMAGE_SIZE = 32
IMAGES_PER_FOLDER = 1000


def write_images(folder: Path, count: int) -> list[Path]:
    """Write images of noise, all different; returns the three that are damaged."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number // IMAGES_PER_FOLDER:04d}" / f"{number:07d}.png" for number in range(count)]
    damaged = [paths[count // 10], paths[count // 2], paths[-1]]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)).save(path)
        if path in damaged:
            path.write_bytes(path.read_bytes()[:100])
    return damaged


def transfer(run: str, folder: Path, out: Path, log: Path) -> tuple[int, float, list[float]]:
    """Run the command in its own process: exit code, seconds, and resident megabytes twice a second once it writes."""
    start, megabytes = time.perf_counter(), []
    with log.open("w") as file:
        command = [sys.executable, "-m", "domtrans", "transfer", run, str(folder), str(out), "--device", "cpu"]
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"NO_COLOR": "1"})
        observed = psutil.Process(process.pid)
        while process.poll() is None:
            time.sleep(0.5)
            try:
                resident = observed.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                break
            if out.exists() and resident:
                megabytes.append(resident)
    return process.wait(), time.perf_counter() - start, megabytes


def main() -> None:
    """Write the images, transfer them, check the result, and print speed and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a folder with a trained run")
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        damaged = write_images(folder / "in", options.count)
        code, seconds, megabytes = transfer(options.run, folder / "in", folder / "out", folder / "log")
        log = (folder / "log").read_text()
        written = sum(1 for _ in (folder / "out").rglob("*.png"))
    assert (code, written) == (1, options.count - 3), (code, written, log)
    assert all(str(path) in log for path in damaged) and "3 files failed" in log, log
    quarter = max(len(megabytes) // 4, 1)
    first, last = statistics.median(megabytes[:quarter]), statistics.median(megabytes[-quarter:])
    print(f"{written:,} images written, 3 named, exit code {code}; {seconds:.0f} s, {options.count / seconds:.0f} images/s")
    print(f"memory: {first:.0f} MB in the first quarter, {last:.0f} MB in the last, {max(megabytes):.0f} MB at most")


if __name__ == "__main__":
    main()
