"""How near a folder of pictures comes to the rate of the network itself, and what memory it takes: docs/how-to/transfer.md.

python benchmarks/transfer.py RUN [--count 5000] [--workers 1 2] [--rounds 3] [--device cpu]

RUN is any trained run. A round measures the network alone, on pictures in memory, right before every folder, for the rest
of the machine does not stand still; the share is the median over the rounds. By CPU time the table says what a machine with
cores to spare would do: what a picture costs beside the network is done by other threads.
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
from many_pictures import SIDE, draw

import domtrans


def network(run: domtrans.Run, count: int, batch: int) -> tuple[float, float]:
    """Seconds by the clock and of CPU for each image of G alone, uint8 in and out, as a transfer hands them in."""
    images = torch.randint(0, 256, (batch, 3, SIDE, SIDE), dtype=torch.uint8)
    run.transfer(images).cpu()
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(max(1, count // batch)):
        run.transfer(images).cpu()
    done = max(1, count // batch) * batch
    return (time.perf_counter() - clock) / done, (time.process_time() - cpu) / done


def folder(run: domtrans.Run, pictures: Path, out: Path, workers: int, batch: int) -> tuple[float, float]:
    """The same from files to files."""
    clock, cpu = time.perf_counter(), time.process_time()
    done = domtrans.transfer(run, pictures, out, workers=workers, batch_size=batch)
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
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = domtrans.load(given.run, device=given.device)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{run.session.device}, {platform.machine()}, {os.cpu_count()} cores{load}; {given.count:,} pictures of {SIDE} pixels\n"
    )
    print("| workers | network, images/s | folder, images/s | share | CPU ms an image: network | beside it | peak MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name, "in"), given.count)
        for workers in given.workers:
            rounds = []
            for number in range(given.rounds):
                alone = network(run, given.count, given.batch_size)
                out = Path(name, f"out-{workers}-{number}")
                rounds.append((*alone, *folder(run, Path(name, "in"), out, workers, given.batch_size)))
            alone, alone_cpu, whole, whole_cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
            share = statistics.median(one[0] / one[2] for one in rounds)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            cpu = f"{1000 * alone_cpu:.2f} | {1000 * (whole_cpu - alone_cpu):.2f}"
            print(f"| {workers} | {1 / alone:,.0f} | {1 / whole:,.0f} | {share:.0%} | {cpu} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
