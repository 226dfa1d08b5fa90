"""Measure image loading from tar shards: its speed, the time that a training waits for it, and its memory (docs/streaming.md).

python benchmarks/streaming.py [--images 50000] [--steps 60] [--workers 0 1 2]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import domtrans
from domtrans import Batches, ImageSet, Session, load_domain, use

BATCH_SIZE = 128
DISTINCT_IMAGES = 2000
"""The shards repeat them."""

IMAGES_PER_SHARD = 5000


def write(folder: Path, count: int, size: int) -> None:
    """Write shards of smooth noise in four classes. PNG compresses it about as well as photographs."""
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(min(DISTINCT_IMAGES, count)):
        file = io.BytesIO()
        noise = Image.fromarray(rng.integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8))
        noise.resize((size, size), Image.Resampling.BICUBIC).save(file, "PNG")
        encoded.append(file.getvalue())
    folder.mkdir()
    for first in range(0, count, IMAGES_PER_SHARD):
        with tarfile.open(folder / f"{first // IMAGES_PER_SHARD:06d}.tar", "w") as tar:
            for i in range(first, min(first + IMAGES_PER_SHARD, count)):
                for suffix, content in (("png", encoded[i % len(encoded)]), ("cls", b"%d" % (i % 4))):
                    member = tarfile.TarInfo(f"{i:08d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_reading(images: ImageSet, workers: int, count: int) -> tuple[float, float]:
    """Images per second of wall time, and per second of CPU time of this process and its workers."""
    session = Session.start("cpu", workers=workers)
    loader, before = session.batch_loader(images, Batches(len(images), BATCH_SIZE, 0)), cpu_seconds()
    loader[0]
    start = time.perf_counter()
    for k in range(1, count // BATCH_SIZE):
        loader[k]
    seconds = time.perf_counter() - start
    session.decode_pool.close()
    return (count - BATCH_SIZE) / seconds, count / (cpu_seconds() - before)


def measure_training(folder: Path, out: Path, steps: int, memory: str, workers: int) -> tuple[float, float]:
    """Images per second of a training, and the share of its time that it waited for images."""
    data = {"name": "webdataset", "path": str(folder), "memory": memory}
    recipe = domtrans.override(
        domtrans.find_recipe("digits-dtn-paper", REGISTRY),
        {
            "source": data,
            "target": data | {"grey": True},
            "fit.steps": 1,
            "metrics": {},
            "train.steps": steps,
            "train.batch_size": BATCH_SIZE,
            "train.log_every": steps // 2,
            "train.workers": workers,
        },
        REGISTRY,
    )
    domtrans.train(recipe, out, device="cpu", registry=REGISTRY)
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return last["images_per_second"], last.get("data_wait", 0.0)


def measure_memory(images: ImageSet, count: int) -> list[float]:
    """Resident memory of this process in MB (Linux), after every tenth of ``count`` images that one worker decodes."""
    session, megabytes = Session.start("cpu", workers=1), []
    loader = session.batch_loader(images, Batches(len(images), BATCH_SIZE, 0))
    for k in range(count // BATCH_SIZE):
        loader[k]
        if (k + 1) % max(1, count // BATCH_SIZE // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            megabytes.append(pages * resource.getpagesize() / 2**20)
    session.decode_pool.close()
    return megabytes


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} cores{load}, Python {platform.python_version()}, one thread of torch\n")
    with tempfile.TemporaryDirectory() as name:
        os.environ["DOMTRANS_CACHE"] = str(Path(name, "cache"))
        sets = {}
        for size in (32, 64):
            write(Path(name, str(size)), options.images, size)
            start, before = time.perf_counter(), cpu_seconds()
            part = use("webdataset", path=str(Path(name, str(size))), memory="no")
            sets[size] = load_domain(REGISTRY, part, "train", size)
            scan = f"{time.perf_counter() - start:.1f} s, including {cpu_seconds() - before:.1f} s of CPU time"
            print(f"{options.images:,} images of {size} px scanned in {scan}")
        print(f"\nmemory of this process after every tenth of {options.images:,} images of 64 px, MB:")
        print(", ".join(f"{used:,.0f}" for used in measure_memory(sets[64], options.images)))
        print("\n| pixels | workers | images/s | images per CPU second |\n|---|---|---|---|")
        for size, images in sets.items():
            for workers in options.workers:
                by_clock, by_cpu = measure_reading(images, workers, min(options.images, 10_000))
                print(f"| {size} | {workers} | {by_clock:,.0f} | {by_cpu:,.0f} |")
        print("\n| training (digits-dtn-paper, batch 128) | images/s | waiting for images |\n|---|---|---|")
        for memory, workers in (("yes", 0), *(("no", workers) for workers in options.workers)):
            speed, wait = measure_training(
                Path(name, "32"), Path(name, f"run-{memory}-{workers}"), options.steps, memory, workers
            )
            images = "in memory" if memory == "yes" else f"in files, {workers} workers"
            print(f"| {images} | {speed:,.0f} | {wait:.1%} |")


REGISTRY = domtrans.load_plugins().registry

if __name__ == "__main__":
    main()
