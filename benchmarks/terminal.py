"""A picture of the terminal during a training, with today's wording.

python benchmarks/terminal.py OUT.png STEP RECIPE [PATH=VALUE ...] --out FOLDER

Trains as `domtrans train RECIPE PATH=VALUE ... --out FOLDER` does, takes the picture after a step, and stops. The folder can be
resumed. The picture of docs/tutorials/tuning.md is made by

python benchmarks/terminal.py docs/images/terminal.png 150 digits-dtn-paper fit.steps=300 train.steps=300 train.batch_size=16 \\
    train.health.act=true train.log_every=5 train.sample_every=50 --out runs/terminal
"""

from __future__ import annotations

import argparse
import io
import sys
import threading
from pathlib import Path

import resvg_py
from rich.console import Console

import domtrans
from domtrans.progress.bars import Bars
from domtrans.storage.atomic import write_bytes

COLUMNS = 92
"""Width of the terminal in characters."""
FONT = "DejaVu Sans Mono"


def main(words: list[str]) -> None:
    """Train until the step, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("step", type=int)
    parser.add_argument("recipe")
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_intermixed_args(words)
    stop = threading.Event()
    bars = Bars(threading.Event(), Console(width=COLUMNS, file=io.StringIO()))

    def listener(progress: domtrans.Progress) -> None:
        if not stop.is_set():
            bars(progress)
        if progress.phase == "train" and progress.step >= given.step:
            stop.set()

    try:
        domtrans.train(given.recipe, given.out, overrides=given.changes, progress=False, listeners=listener, stop=stop)
    except domtrans.Stopped as stopped:
        print(stopped)
    else:
        sys.exit(f"the training ended before step {given.step}")
    screen = Console(width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor", record=True)
    screen.print(bars.get_renderable())
    bars.stop()
    svg = screen.export_svg(title=f"domtrans train {given.recipe}")
    write_bytes(given.picture, bytes(resvg_py.svg_to_bytes(svg_string=svg.replace("arial", FONT), monospace_family=FONT)))
    print(f"wrote {given.picture}")


if __name__ == "__main__":
    main(sys.argv[1:])
