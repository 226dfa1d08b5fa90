"""Compare the speed of transferring a folder with that of the network alone, and measure memory (docs/how-to/transfer.md).

python benchmarks/transfer.py RUN [--count 5000] [--workers 1 2] [--rounds 3] [--device cpu]

RUN is any trained run. Every round measures the network alone, on images in memory, just before a folder, because other load
on the machine changes; the share is the median over the rounds. CPU times show what a machine with free cores would do: other
threads do the work that an image needs in addition to the network.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch
from many_images import IMAGE_SIZE, write_images

import domtrans


def network(run: domtrans.Run, count: int, batch: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds per image of G alone, from uint8 to uint8 as in a transfer."""
    images = torch.randint(0, 256, (batch, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
    run.transfer(images).cpu()
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(max(1, count // batch)):
        run.transfer(images).cpu()
    done = max(1, count // batch) * batch
    return (time.perf_counter() - clock) / done, (time.process_time() - cpu) / done


def folder(run: domtrans.Run, images: Path, out: Path, workers: int, batch: int) -> tuple[float, float]:
    """The same, from files to files."""
    clock, cpu = time.perf_counter(), time.process_time()
    done = domtrans.transfer(run, images, out, workers=workers, batch_size=batch)
    assert len(done.failed) == 3
    count = len(done.written)
    return (time.perf_counter() - clock) / count, (time.process_time() - cpu) / count


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a folder with a trained run")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = domtrans.load(options.run, device=options.device)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = f"{run.session.device}, {platform.machine()}, {os.cpu_count()} cores{load}"
    print(f"{machine}; {options.count:,} images of {IMAGE_SIZE} pixels\n")
    print("| workers | network, images/s | folder, images/s | share | CPU ms per image: network | other work | peak MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        write_images(Path(name, "in"), options.count)
        for workers in options.workers:
            rounds = []
            for number in range(options.rounds):
                alone = network(run, options.count, options.batch_size)
                out = Path(name, f"out-{workers}-{number}")
                rounds.append((*alone, *folder(run, Path(name, "in"), out, workers, options.batch_size)))
            alone, alone_cpu, whole, whole_cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
            share = statistics.median(times[0] / times[2] for times in rounds)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            cpu = f"{1000 * alone_cpu:.2f} | {1000 * (whole_cpu - alone_cpu):.2f}"
            print(f"| {workers} | {1 / alone:,.0f} | {1 / whole:,.0f} | {share:.0%} | {cpu} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
