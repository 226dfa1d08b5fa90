"""How near ``domtrans make avatars`` comes to the speed of the rasteriser alone, and what more workers bring.

python benchmarks/avatars.py [ROUNDS] [SIZE]
"""

import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial

import domtrans
from domtrans.data.render_worker import render_block
from domtrans.data.shard_writer import tar_members
from domtrans_faces.domains.drawing import rasterise, sample_face, to_svg
from domtrans_faces.domains.styles import STYLES

ROUNDS, SIZE, BLOCK = 15, 96, 100


def shares(rounds: int, size: int) -> tuple[list[float], list[float]]:
    """Seconds of processor time for a picture, each round: of resvg alone, and of all that a worker and its shard need.

    Both over the same pictures, in turn, so that a busy machine slows both.
    """
    registry = domtrans.load_plugins().registry
    options = registry.arguments("domain", domtrans.use("avatars"))
    drawn = registry.get("domain", "avatars").factory.rendered("train", size, **options)
    alone, whole = [], []
    for first in range(0, rounds * BLOCK, BLOCK):
        numbers = range(first, first + BLOCK)
        faces = [sample_face(STYLES["avataaars"], drawn.options["shares"], random.Random(f"0/train/{i}")) for i in numbers]
        drawings = [to_svg(face, background="#ffffff") for face in faces]
        began = time.process_time()
        for drawing in drawings:
            rasterise(drawing, size)
        between = time.process_time()
        block = render_block(partial(drawn.draw, **drawn.options), first, first + BLOCK, files=True)
        b"".join(tar_members(first, block))
        alone.append((between - began) / BLOCK)
        whole.append((time.process_time() - between) / BLOCK)
    return alone, whole


def make(count: int, size: int, workers: int) -> float:
    """Seconds by the clock of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "domtrans", "make", "avatars", folder, "--quiet", "--shard", "1000"]
        command += ["--count", str(count), "--size", str(size), "--workers", str(workers)]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def main(rounds: int = ROUNDS, size: int = SIZE) -> None:
    """Print medians; the command's start-up is taken out by the difference of two runs, of all pictures and of a tenth."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; avataaars at {size} pixels")
    alone, whole = shares(rounds, size)
    rate = statistics.median(a / w for a, w in zip(alone, whole, strict=True))
    print(f"resvg alone: {1 / statistics.median(alone):,.0f} pictures a second of one core")
    print(f"drawing and packing: {1 / statistics.median(whole):,.0f}, {rate:.1%} of it")
    count = rounds * BLOCK
    for workers in sorted({1, 2, os.cpu_count() or 1}):
        seconds = make(count, size, workers) - make(count // 10, size, workers)
        print(f"make, {workers} workers: {0.9 * count / seconds:,.0f} pictures a second by the clock")


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:]])
