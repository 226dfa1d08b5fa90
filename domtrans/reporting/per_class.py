"""Results per class: ``confusion``, ``per_class`` and ``classes`` of any metric.

``confusion`` has one row per true class. A row holds a count or share for every predicted class; the true classes come
first among those. ``per_class`` is the share of each true class that was predicted correctly, None for a class without
images. ``classes`` are names; by default those of the source. The three keys may have the same beginning, as in
``skin_confusion``. If two metrics have the same key, it begins with the name of the metric: ``digits.confusion``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domtrans.evaluation.results import in_sections
from domtrans.reporting.records import Record

MAX_MATRIX_CLASSES = 40
"""Classes of a confusion matrix that is drawn; of a larger one, only the worst pairs are listed."""
MAX_WORST_PAIRS = 8
MIN_SHARE = 0.01
"""Share of a class from which a mistake is listed."""


@dataclass(frozen=True)
class PerClass:
    """The results of one metric per class.

    Args:
        name: What its keys begin with, e.g. the name of the metric, if another metric has such results too; else "".
        classes: The true classes.
        shares: The share of each class that was predicted correctly; None without images.
        columns: The predicted classes.
        confusion: For each class, the shares that were predicted as each column; empty if it is not drawn.
        worst: The most frequent mistakes: true class, predicted class, share of the true class.
    """

    name: str
    classes: Sequence[str]
    shares: Sequence[float | None]
    columns: Sequence[str]
    confusion: Sequence[Sequence[float]]
    worst: Sequence[tuple[str, str, float]]


def per_class(record: Record) -> list[PerClass]:
    """The results per class of every metric that has some. Inconsistent values are left out."""
    results = []
    metrics = in_sections(record.results)["metrics"]
    for prefix in dict.fromkeys(_prefix(key) for key in metrics if key.endswith(("confusion", "per_class"))):
        counts = _matrix(metrics.get(f"{prefix}confusion"))
        confusion = [[number / (sum(row) or 1) for number in row] for row in counts]
        diagonal = [row[k] if sum(row) else None for k, row in enumerate(confusion)]
        shares = diagonal or _shares(metrics.get(f"{prefix}per_class"))
        columns = _names(record, prefix, max(len(shares), *map(len, confusion), 0))
        if shares:
            drawn = confusion if len(columns) <= MAX_MATRIX_CLASSES else []
            worst = _worst_pairs(columns, confusion)
            name = prefix.rstrip("._").replace("_", " ")
            results.append(PerClass(name, columns[: len(shares)], shares, columns, drawn, worst))
    return results


def _prefix(key: str) -> str:
    return key.removesuffix("confusion").removesuffix("per_class")


def _names(record: Record, prefix: str, count: int) -> list[str]:
    """Names of ``count`` classes; a number where there is no name."""
    own = in_sections(record.results)["metrics"].get(f"{prefix}classes")
    named = own or (None if prefix.endswith("_") else record.about.get("classes"))  # skin_confusion is not of the classes
    names = [str(name) for name in named][:count] if isinstance(named, list) else []
    return names + [str(k) for k in range(len(names), count)]


def _matrix(value: Any) -> list[list[float]]:
    """Rows of equal length, at least as long as their number; empty for any other value."""
    rows = [row for row in value if isinstance(row, list) and all(map(_is_share, row))] if isinstance(value, list) else []
    is_valid = bool(rows) and len(rows) == len(value) and len(rows[0]) >= len(rows) and len({len(row) for row in rows}) == 1
    return rows if is_valid else []


def _shares(value: Any) -> list[float | None]:
    is_valid = isinstance(value, list) and all(share is None or _is_share(share) for share in value)
    return list(value) if is_valid else []


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _worst_pairs(names: Sequence[str], confusion: Sequence[Sequence[float]]) -> list[tuple[str, str, float]]:
    pairs = [
        (names[i], names[j], share)
        for i, row in enumerate(confusion)
        for j, share in enumerate(row)
        if i != j and share >= MIN_SHARE
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:MAX_WORST_PAIRS]
