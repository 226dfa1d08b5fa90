"""Fill in docs/benchmarks.md: run every `domtrans bench` that the page shows, and put what it finds below it.

python benchmarks/page.py [WORD ...] [--steps N]

With words, only commands that hold one of them; --steps: in place of what each says, to try the page quickly. What comes
below a command stands between two comments, and only that is written, once for every command, so that Ctrl-C loses no figure.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domtrans.benchmark import tables
from domtrans.reporting.markdown import markdown_table
from domtrans.storage.atomic import write_bytes

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PLACE = re.compile(r"^    domtrans (bench [^\n]*)\n\n<!-- found -->\n(.*?)<!-- end -->$", re.MULTILINE | re.DOTALL)


def measured(words: list[str]) -> dict[str, Any]:
    """What a command prints as JSON."""
    done = subprocess.run([sys.executable, "-m", "domtrans", *words, "--json"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def told(found: dict[str, Any], words: list[str]) -> Iterator[str]:
    """The lines below a command."""
    yield f"{tables.circumstances(found)}."
    if "points" in found:
        yield from ("", *markdown_table(*tables.scaling_table(found)), "", *tables.refusals(found), "")
        picture = (ROOT / words[words.index("--curves") + 1] / "growth.png").relative_to(PAGE.parent)
        yield f"![images a second along every axis]({picture})"
        return
    for header, rows in tables.tables(found):
        yield from ("", *markdown_table(header, rows))


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    for command, _ in PLACE.findall(PAGE.read_text()):
        words = shlex.split(command)
        if given.words and not set(given.words) & set(words):
            continue
        print(f"domtrans {command}", flush=True)
        found = measured([*words, *(["--steps", str(given.steps)] if given.steps else [])])
        below = "".join(f"{line}\n" for line in told(found, words))
        page = PLACE.sub(
            lambda place, command=command, below=below: (
                place[0] if place[1] != command else f"    domtrans {command}\n\n<!-- found -->\n{below}<!-- end -->"
            ),
            PAGE.read_text(),
        )
        write_bytes(PAGE, page.encode())


if __name__ == "__main__":
    main()
