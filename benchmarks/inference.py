"""Compare the engines that compute a trained run on the CPU: speed, memory and start (docs/benchmarks.md).

python benchmarks/inference.py RUN... [--rounds 9] [--starts 3]

Each RUN is a trained run that draws pixels. All engines are timed in one process with one thread, in turn in every round, so
that other load on the machine affects all of them alike. The time is the CPU time of the process, which is the time that passes
on a free core; the smallest of all rounds counts. "default layout" is torch without channels_last, the usual form. int8 is the
graph of ``domtrans export --int8``, here with ranges of noise, which do not change its speed. Start and memory are those of
``domtrans transfer`` of one picture, a process of its own, whose graph is in the cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import domtrans
from domtrans.model import onnx_graph
from domtrans.sharing.export import PixelTransfer, to_pixels

Contender = Callable[[Tensor], object]
COUNTS = {1: 20, 64: 2}
"""Calls per round by batch size."""


def contenders(path: str) -> dict[str, Contender]:
    """Functions of uint8 batches [N, 3, S, S] by the name of the engine."""
    run, half = domtrans.load(path, device="cpu"), domtrans.load(path, device="cpu", precision="bf16")
    plain = onnx_graph.contiguous_copy(run.model)
    graph = onnx_graph.make_graph(PixelTransfer(plain).eval(), torch.zeros(2, *shape(run)[1:], 3, dtype=torch.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (64, *shape(run)[1:], 3), dtype=np.uint8)
    int8 = onnx_graph.onnxruntime_runner(onnx_graph.serialise(onnx_graph.to_int8(graph, noise)))

    def default_layout(images: Tensor) -> Tensor:
        with torch.no_grad():
            return domtrans.to_uint8(plain(domtrans.to_float(images).contiguous()))

    return {
        "torch, default layout": default_layout,
        "torch": run.transfer,
        "torch, bf16": half.transfer,
        "onnxruntime": lambda images: run.transfer(images, engine="onnxruntime"),
        "onnxruntime, int8": lambda images: int8(to_pixels(images)),
        "openvino": lambda images: run.transfer(images, engine="openvino"),
        "openvino, bf16": lambda images: half.transfer(images, engine="openvino"),
    }


def shape(run: domtrans.Run) -> tuple[int, int, int]:
    """C, S, S of the images."""
    return 3, run.recipe.image_size, run.recipe.image_size


def milliseconds(engines: dict[str, Contender], size: int, rounds: int) -> dict[tuple[str, int], float]:
    """Smallest CPU time of a call, by engine and batch size."""
    times: dict[tuple[str, int], float] = {}
    batches = {count: torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8) for count in COUNTS}
    for _ in range(rounds + 1):  # the first round warms up
        for name, engine in engines.items():
            for count, images in batches.items():
                start = time.process_time()
                for _ in range(COUNTS[count]):
                    engine(images)
                taken = 1000 * (time.process_time() - start) / COUNTS[count]
                times[name, count] = min(times.get((name, count), taken), taken)
    return times


def start(path: str, name: str, folder: Path) -> tuple[float, float]:
    """CPU seconds and peak MB of ``domtrans transfer`` of one picture."""
    engine, _, precision = name.partition(", ")
    words = ["transfer", path, str(folder / "x.png"), str(folder / "y.png"), "--engine", engine, "--device", "cpu"]
    return process("-m", "domtrans", *words, *(["--precision", precision] if precision else []))


def process(*words: str) -> tuple[float, float]:
    """CPU seconds and peak MB of a Python process."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    _, status, usage = os.wait4(os.posix_spawn(sys.executable, [sys.executable, *words], os.environ, file_actions=quiet), 0)
    assert status == 0, words
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--starts", type=int, default=3, help="processes for start and memory; 0 leaves these columns empty")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, one thread"
    print(f"{machine}, torch {torch.__version__}, Python {platform.python_version()}")
    if options.starts:
        print(f"importing torch alone: {min(process('-c', 'import torch') for _ in range(options.starts))[0]:.1f} s")
    for path in options.runs:
        engines = contenders(path)
        times = milliseconds(engines, domtrans.load(path, device="cpu").recipe.image_size, options.rounds)
        base = {count: times["torch, default layout", count] for count in COUNTS}
        print(f"\n{path}\n\n| engine | one image | 64 images, images/s | start | memory |\n|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            Image.new("RGB", (64, 64), "teal").save(folder / "x.png")
            for engine in engines:
                one, many = times[engine, 1], times[engine, 64]
                cells = [f"{one:.2f} ms ({base[1] / one:.1f} x)", f"{64_000 / many:,.0f} ({base[64] / many:.1f} x)", "", ""]
                if options.starts and engine not in ("torch, default layout", "onnxruntime, int8"):
                    seconds, memory = min(start(path, engine, folder) for _ in range(options.starts))
                    cells[2:] = [f"{seconds:.1f} s", f"{memory:,.0f} MB"]
                print(f"| {engine} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
