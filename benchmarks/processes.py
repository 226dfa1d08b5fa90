"""What the processes of one training send to one another, on a CPU: a table in docs/distributed.md.

python benchmarks/processes.py [--recipe NAME] [--batch-size N] [--steps N]

It trains in 1, 2 and 4 processes on this machine, which share its cores, and counts the messages of a step, their bytes, and
the processor time of each process.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from page import replace_marked
from torch import Tensor

from domtrans import Session, find_recipe, load_plugins, override
from domtrans.benchmark.bench import build_trainer
from domtrans.compute.distributed import process_group
from domtrans.reporting.markdown import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "distributed.md"
SIZES = (1, 2, 4)
SMALL = {"source.count": 512, "source.test_count": 64, "train.precision": "float32"}


class Traffic:
    """Counts what ``all_reduce`` sends."""

    def __init__(self) -> None:
        self.messages = self.bytes = 0
        self.all_reduce = dist.all_reduce

    def __call__(self, tensor: Tensor, *args: Any, **options: Any) -> Any:
        """Count a message and send it."""
        self.messages += 1
        self.bytes += tensor.nbytes
        return self.all_reduce(tensor, *args, **options)


def measure(recipe: str, batch_size: int, steps: int) -> dict[str, Any]:
    """What a step of this process sends and computes."""
    torch.set_num_threads(1)
    registry, traffic = load_plugins().registry, Traffic()
    resolved = override(find_recipe(recipe, registry), SMALL | {"train.batch_size": batch_size}, registry)
    with process_group("cpu", threading.Event()) as group:
        session = Session.start("cpu", precision="float32", seed=0, group=group)
        trainer, _ = build_trainer(resolved, registry, session)
        trainer.step()
        dist.all_reduce = traffic
        seconds = time.process_time()
        for _ in range(steps):
            trainer.step()
        seconds = time.process_time() - seconds
        group.barrier()
    networks = {"g": trainer.g, "D": trainer.D}
    parameters = {name: sum(each.nbytes for each in network.parameters()) for name, network in networks.items()}
    return {
        "messages": traffic.messages / steps,
        "bytes": traffic.bytes / steps,
        "seconds": seconds / steps,
        "parameter_bytes": parameters,
    }


def measured_in(size: int, given: argparse.Namespace) -> dict[str, Any]:
    """``measure`` in several processes; returns what the main one measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, __file__, "--measure", "--recipe", given.recipe]
    words += ["--batch-size", str(given.batch_size), "--steps", str(given.steps)]
    started = [
        subprocess.Popen(words, env=os.environ | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE)
        for rank in range(size)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"a process of {size} failed")
    found: dict[str, Any] = json.loads(outputs[0])
    return found


def main() -> None:
    """Measure, and replace the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="digits-dtn-paper")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        sys.stdout.write(json.dumps(measure(given.recipe, given.batch_size, given.steps)))
        return
    rows, alone = [], 0.0
    for size in SIZES:
        found = measured_in(size, given)
        alone = alone or found["seconds"]
        rows.append(
            [
                str(size),
                f"{given.batch_size // size}",
                f"{found['messages']:.0f}",
                f"{found['bytes'] / 1e6:.2f} MB",
                f"{found['seconds'] / alone:.2f}",
            ]
        )
        print(rows[-1], found["parameter_bytes"], flush=True)
    header = ["processes", "images of each domain in each", "messages a step", "sent a step", "processor time of each"]
    replace_marked(PAGE, markdown_table(header, rows))


if __name__ == "__main__":
    main()
