"""Compare the speed of ``domtrans make avatars`` with that of the rasteriser alone, and measure the effect of more workers.

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

ROUNDS, IMAGE_SIZE, BLOCK_SIZE = 15, 96, 100


def cpu_seconds_per_image(rounds: int, size: int) -> tuple[list[float], list[float]]:
    """CPU seconds per image in each round: of resvg alone, and of everything that a worker does for a shard.

    Both use the same images in turns, so that other load slows both.
    """
    registry = domtrans.load_plugins().registry
    options = registry.arguments("domain", domtrans.use("avatars"))
    rendered = registry.get("domain", "avatars").factory.rendered("train", size, **options)
    rasterising, total = [], []
    for first in range(0, rounds * BLOCK_SIZE, BLOCK_SIZE):
        numbers = range(first, first + BLOCK_SIZE)
        faces = [sample_face(STYLES["avataaars"], rendered.options["shares"], random.Random(f"0/train/{i}")) for i in numbers]
        drawings = [to_svg(face, background="#ffffff") for face in faces]
        start = time.process_time()
        for drawing in drawings:
            rasterise(drawing, size)
        middle = time.process_time()
        block = render_block(partial(rendered.draw, **rendered.options), first, first + BLOCK_SIZE, files=True)
        b"".join(tar_members(first, block))
        rasterising.append((middle - start) / BLOCK_SIZE)
        total.append((time.process_time() - middle) / BLOCK_SIZE)
    return rasterising, total


def make(count: int, size: int, workers: int) -> float:
    """Wall-clock seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "domtrans", "make", "avatars", folder, "--quiet", "--shard", "1000"]
        command += ["--count", str(count), "--size", str(size), "--workers", str(workers)]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def main(rounds: int = ROUNDS, size: int = IMAGE_SIZE) -> None:
    """Print medians. The start-up of the command cancels out: two runs are subtracted, of all images and of a tenth."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; avataaars at {size} pixels")
    rasterising, total = cpu_seconds_per_image(rounds, size)
    share = statistics.median(part / whole for part, whole in zip(rasterising, total, strict=True))
    print(f"resvg alone: {1 / statistics.median(rasterising):,.0f} images per second of one core")
    print(f"rendering and packing: {1 / statistics.median(total):,.0f}, {share:.1%} of it")
    count = rounds * BLOCK_SIZE
    for workers in sorted({1, 2, os.cpu_count() or 1}):
        seconds = make(count, size, workers) - make(count // 10, size, workers)
        print(f"make, {workers} workers: {0.9 * count / seconds:,.0f} images per second of wall time")


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:]])
