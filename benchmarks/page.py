"""Update docs/results/benchmarks.md: run every `domtrans bench` command of the page, and replace the tables below it.

python benchmarks/page.py [WORD ...] [--steps N]

With words, only commands that contain one of them are run; --steps replaces their number of steps, for a quick test. The page
is written after every command, so Ctrl-C loses no results. Only the text between the two comments below a command changes. The
table in docs/benchmarks.md is made from this page; `python benchmarks/page.py none` only makes that table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from domtrans.benchmark import tables
from domtrans.reporting.markdown import markdown_table
from domtrans.storage.atomic import write_bytes

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results" / "benchmarks.md"
SUMMARY = ROOT / "docs" / "benchmarks.md"
COMPARED = ["bench digits-dtn-paper --batch-size 128", "bench digits-dtn --batch-size 128", "bench faces-dtn"]
"""The commands of the page whose results are the table in docs/benchmarks.md."""
SECTION = re.compile(r"^    domtrans (bench [^\n]*)\n\n<!-- measured -->\n(.*?)<!-- end -->$", re.MULTILINE | re.DOTALL)


def run(words: list[str]) -> dict[str, Any]:
    """Run a command; returns its JSON output."""
    done = subprocess.run([sys.executable, "-m", "domtrans", *words, "--json"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def lines_below(data: dict[str, Any], words: list[str]) -> Iterator[str]:
    """The lines below a command."""
    yield f"{tables.circumstances(data)}."
    if "points" in data:
        yield from ("", *markdown_table(*tables.scaling_table(data)), "", *tables.refusals(data), "")
        chart = os.path.relpath(ROOT / words[words.index("--curves") + 1] / "growth.png", PAGE.parent)
        yield f"![images per second along every axis]({chart})"
        return
    for header, rows in tables.tables(data):
        yield from ("", *markdown_table(header, rows))


def summary(page: str) -> Iterator[str]:
    """The table in docs/benchmarks.md: one row for each of some commands of the page."""
    sections, rows = dict(SECTION.findall(page)), []
    for command in COMPARED:
        lines = sections[command].splitlines()
        cells = {row[0]: row for line in lines if line.startswith("| ") and (row := line.strip("| ").split(" | "))}
        plain, with_data = (f"{cells[name][4]} times" for name in ("plain loop", "plain loop and its data"))
        batch_size = lines[0].rpartition("batch size ")[2].rstrip(".")
        rows.append([f"`{command.split()[1]}`", batch_size, cells["domtrans"][1], plain, with_data, cells["arithmetic"][4]])
    header = ["recipe", "batch size", "step of domtrans", "plain loop", "plain loop and its data", "lower bound / step"]
    return markdown_table(header, rows)


def replace_marked(page: Path, lines: Iterable[str]) -> None:
    """Replace what is between the two comments of a page by a table."""
    before, begin, rest = page.read_text().partition("<!-- measured -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not begin or not end:
        raise SystemExit(f"{page} needs the lines <!-- measured --> and <!-- end -->")
    write_bytes(page, "".join([before, begin, "\n", *(f"{line}\n" for line in lines), "\n", end, after]).encode())


def main() -> None:
    """Run the commands and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    for command, _ in SECTION.findall(PAGE.read_text()):
        words = shlex.split(command)
        if given.words and not set(given.words) & set(words):
            continue
        print(f"domtrans {command}", flush=True)
        data = run([*words, *(["--steps", str(given.steps)] if given.steps else [])])
        below = "".join(f"{line}\n" for line in lines_below(data, words))
        page = SECTION.sub(
            lambda section, command=command, below=below: (
                section[0] if section[1] != command else f"    domtrans {command}\n\n<!-- measured -->\n{below}<!-- end -->"
            ),
            PAGE.read_text(),
        )
        write_bytes(PAGE, page.encode())
    replace_marked(SUMMARY, summary(PAGE.read_text()))


if __name__ == "__main__":
    main()
