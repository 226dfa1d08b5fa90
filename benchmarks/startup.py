"""Measure the start-up time of commands with third-party plugins installed (docs/benchmarks.md).

python benchmarks/startup.py [--plugins 0 30] [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = (("--help",), ("--version",), ("plugins",))
MODULE = """
import domtrans
import torch

domtrans_interface = 1


def gap(a, b, *, power: float = 1.0):
    \"\"\"The mean power of the difference.

    Args:
        a: A batch.
        b: Another batch.
        power: The power.
    \"\"\"
    return (a - b).abs().pow(power).mean()


@domtrans.hookimpl
def register(registry):
    registry.distance("gap-NUMBER", gap)
"""


def install(folder: Path, number: int) -> None:
    """Install a distribution with one plugin that imports torch, as most plugins do."""
    (folder / f"startup_{number}.py").write_text(MODULE.replace("NUMBER", str(number)))
    about = folder / f"domtrans_startup_{number}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: domtrans-startup-{number}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[domtrans]\nstartup-{number} = startup_{number}\n")


def seconds(folder: Path, words: tuple[str, ...]) -> float:
    """Wall-clock seconds of one process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "domtrans", *words],
        env=os.environ | {"PYTHONPATH": str(folder)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def main() -> None:
    """Print a Markdown table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, nargs="+", default=[0, 30])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; median of {options.repeats}\n")
    print(f"| command | {' | '.join(f'{count} plugins' for count in options.plugins)} |")
    print("|---|" + "---|" * len(options.plugins))
    rows: dict[tuple[str, ...], list[str]] = {words: [] for words in COMMANDS}
    for count in options.plugins:
        with tempfile.TemporaryDirectory() as name:
            for number in range(count):
                install(Path(name), number)
            for words in COMMANDS:
                seconds(Path(name), words)  # compile to bytecode and fill the disk cache
                taken = [seconds(Path(name), words) for _ in range(options.repeats)]
                rows[words].append(f"{statistics.median(taken):.2f} s")
    for words, cells in rows.items():
        print(f"| `domtrans {' '.join(words)}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
