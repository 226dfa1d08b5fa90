"""How fast pictures are read from tar shards, how long a training waits for them, and what memory they take: docs/streaming.md.

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

BATCH = 128
DISTINCT = 2000
"""Pictures that are drawn; the shards hold them over and over."""
SHARD = 5000


def write(folder: Path, count: int, size: int) -> None:
    """Shards of smooth noise, which PNG compresses about as well as photographs, in four classes."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(min(DISTINCT, count)):
        file = io.BytesIO()
        noise = Image.fromarray(rng.integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8))
        noise.resize((size, size), Image.Resampling.BICUBIC).save(file, "PNG")
        pictures.append(file.getvalue())
    folder.mkdir()
    for first in range(0, count, SHARD):
        with tarfile.open(folder / f"{first // SHARD:06d}.tar", "w") as tar:
            for i in range(first, min(first + SHARD, count)):
                for ending, content in (("png", pictures[i % len(pictures)]), ("cls", b"%d" % (i % 4))):
                    member = tarfile.TarInfo(f"{i:08d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def cpu() -> float:
    """CPU seconds of this process and of those that it has ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def reading(images: ImageSet, workers: int, count: int) -> tuple[float, float]:
    """Images a second by the clock, and by the CPU time that they cost, this process's and the readers'."""
    session = Session.start("cpu", workers=workers)
    loader, before = session.batch_loader(images, Batches(len(images), BATCH, 0)), cpu()
    loader[0]
    began = time.perf_counter()
    for k in range(1, count // BATCH):
        loader[k]
    taken = time.perf_counter() - began
    session.decode_pool.close()
    return (count - BATCH) / taken, count / (cpu() - before)


def training(folder: Path, out: Path, steps: int, held: str, workers: int) -> tuple[float, float]:
    """Images a second of a whole training, and the share of the time that it waited for images."""
    data = {"name": "webdataset", "path": str(folder), "memory": held}
    recipe = domtrans.override(
        domtrans.find_recipe("digits-dtn-paper", REGISTRY),
        {
            "source": data,
            "target": data | {"grey": True},
            "fit.steps": 1,
            "metrics": {},
            "train.steps": steps,
            "train.batch_size": BATCH,
            "train.log_every": steps // 2,
            "train.workers": workers,
        },
        REGISTRY,
    )
    domtrans.train(recipe, out, device="cpu", registry=REGISTRY)
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return last["images_per_second"], last.get("data_wait", 0.0)


def memory(images: ImageSet, count: int) -> list[float]:
    """Resident memory of this process (Linux), MB, after every tenth of ``count`` images read by one worker."""
    session, found = Session.start("cpu", workers=1), []
    loader = session.batch_loader(images, Batches(len(images), BATCH, 0))
    for k in range(count // BATCH):
        loader[k]
        if (k + 1) % max(1, count // BATCH // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found.append(pages * resource.getpagesize() / 2**20)
    session.decode_pool.close()
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} cores{load}, Python {platform.python_version()}, one thread of torch\n")
    with tempfile.TemporaryDirectory() as name:
        os.environ["DOMTRANS_CACHE"] = str(Path(name, "cache"))
        sets = {}
        for size in (32, 64):
            write(Path(name, str(size)), given.images, size)
            began, before = time.perf_counter(), cpu()
            part = use("webdataset", path=str(Path(name, str(size))), memory="no")
            sets[size] = load_domain(REGISTRY, part, "train", size)
            scan = f"{time.perf_counter() - began:.1f} s, of it {cpu() - before:.1f} s of CPU"
            print(f"{given.images:,} pictures of {size} px scanned once in {scan}")
        print(f"\nmemory of this process after every tenth of {given.images:,} images of 64 px, MB:")
        print(", ".join(f"{megabytes:,.0f}" for megabytes in memory(sets[64], given.images)))
        print("\n| pixels | workers | images/s | images a CPU second |\n|---|---|---|---|")
        for size, images in sets.items():
            for workers in given.workers:
                by_clock, by_cpu = reading(images, workers, min(given.images, 10_000))
                print(f"| {size} | {workers} | {by_clock:,.0f} | {by_cpu:,.0f} |")
        print("\n| training (digits-dtn-paper, batch 128) | images/s | waiting for images |\n|---|---|---|")
        for held, workers in (("yes", 0), *(("no", workers) for workers in given.workers)):
            speed, wait = training(Path(name, "32"), Path(name, f"run-{held}-{workers}"), given.steps, held, workers)
            what = "in memory" if held == "yes" else f"read by {workers or 'itself'}"
            print(f"| {what} | {speed:,.0f} | {wait:.1%} |")


REGISTRY = domtrans.load_plugins().registry

if __name__ == "__main__":
    main()
