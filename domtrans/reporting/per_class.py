"""What a metric says class by class: ``confusion``, ``per_class`` and ``classes`` in the results, whichever metric gave them.

``confusion``: a row for every true class, in it a count or share for every class that G(x) was read as; the true classes
come first among those. ``per_class``: the share of every true class that was read rightly, none where it has no images.
``classes``: names; without them the source's own. A metric whose keys clash with another's has its name before them:
``digits.confusion``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domtrans.evaluation.results import in_sections
from domtrans.reporting.records import Record

LARGEST = 40
"""Classes of a confusion matrix that is drawn; a larger one is told by its worst pairs."""
WORST = 8
"""Pairs of classes that are named."""


@dataclass(frozen=True)
class ByClass:
    """``of``: the metric, "" where no other has such keys. ``shares``: how much of each of ``classes`` was read rightly.

    ``confusion``: for each of ``classes`` the shares of it that were read as each of ``columns``, or empty.
    ``worst``: true class, class it was read as, share of the true class.
    """

    of: str
    classes: Sequence[str]
    shares: Sequence[float | None]
    columns: Sequence[str]
    confusion: Sequence[Sequence[float]]
    worst: Sequence[tuple[str, str, float]]


def by_class(record: Record) -> list[ByClass]:
    """One for every metric that tells; what does not hold together is passed over."""
    found = []
    metrics = in_sections(record.results)["metrics"]
    for before in dict.fromkeys(_before(key) for key in metrics if key.endswith(("confusion", "per_class"))):
        counts = _matrix(metrics.get(f"{before}confusion"))
        confusion = [[number / (sum(row) or 1) for number in row] for row in counts]
        diagonal = [row[k] if sum(row) else None for k, row in enumerate(confusion)]
        shares = diagonal or _shares(metrics.get(f"{before}per_class"))
        columns = _names(record, before, max(len(shares), *map(len, confusion), 0))
        if shares:
            drawn = confusion if len(columns) <= LARGEST else []
            found.append(
                ByClass(before.rstrip("."), columns[: len(shares)], shares, columns, drawn, _worst(columns, confusion))
            )
    return found


def _before(key: str) -> str:
    return key.removesuffix("confusion").removesuffix("per_class")


def _names(record: Record, before: str, count: int) -> list[str]:
    """Names of so many classes: those there are, and numbers for the rest."""
    named = in_sections(record.results)["metrics"].get(f"{before}classes") or record.about.get("classes")
    names = [str(name) for name in named][:count] if isinstance(named, list) else []
    return names + [str(k) for k in range(len(names), count)]


def _matrix(value: Any) -> list[list[float]]:
    """Rows of one length, which is at least their number; nothing for what is no such thing."""
    rows = [row for row in value if isinstance(row, list) and all(map(_is_share, row))] if isinstance(value, list) else []
    whole = bool(rows) and len(rows) == len(value) and len(rows[0]) >= len(rows) and len({len(row) for row in rows}) == 1
    return rows if whole else []


def _shares(value: Any) -> list[float | None]:
    whole = isinstance(value, list) and all(share is None or _is_share(share) for share in value)
    return list(value) if whole else []


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _worst(names: Sequence[str], confusion: Sequence[Sequence[float]]) -> list[tuple[str, str, float]]:
    pairs = [
        (names[i], names[j], share) for i, row in enumerate(confusion) for j, share in enumerate(row) if i != j and share > 0
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:WORST]
