"""How a run shows itself: as one line, and as HTML in a notebook with metrics, loss curves and the newest sample grid."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from domtrans.evaluation.metric_rows import MetricRow, MetricTable, declared_values, metric_rows, metric_tables, own_rows
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import Registry
from domtrans.runs.folder import RunFolder

CURVE_INCHES = (7, 2.4)


def run_line(recipe: Recipe, file: Path, results: Mapping[str, Any], registry: Registry) -> str:
    """``Run(digits-dtn, runs/digits-dtn/model.safetensors, transfer accuracy 93.8 %)``."""
    main = [f"{row.label} {row.text}" for row in _rows(recipe, results, registry) if row.main]
    return f"Run({', '.join([recipe.name, str(file), *main])})"


def run_html(recipe: Recipe, path: Path, results: Mapping[str, Any], registry: Registry) -> str:
    """Metrics, loss curves and the newest sample grid of a run folder, as HTML without links to other files."""
    rows = _rows(recipe, results, registry)
    parts = [
        f"<h4>{html.escape(recipe.name)}</h4><p>{html.escape(recipe.description)}</p>",
        f"<table>{''.join(_tr(row.label, [row.text]) for row in own_rows(rows))}</table>",
        *map(_table, metric_tables(rows)),
    ]
    folder = RunFolder(path)
    curves = loss_curves(folder.metrics())
    if curves:
        parts.append(_img(curves, "losses by step"))
    grid = folder.newest_sample()
    if grid:
        parts.append(_img(grid.read_bytes(), "test images above, their transfers below"))
    return "\n".join(parts)


def loss_curves(history: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The losses of a log as a PNG, one line for each, over the step; None if the log has none."""
    names = sorted({name for line in history for name in line if name.startswith(("generator.", "discriminator."))})
    if not names:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=CURVE_INCHES, layout="constrained")
    axes = figure.add_subplot(xlabel="step", yscale="symlog")
    for name in names:
        points = [(line["step"], line[name]) for line in history if name in line]
        axes.plot(*zip(*points, strict=True), label=name)
    axes.legend(fontsize="small", frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def _rows(recipe: Recipe, results: Mapping[str, Any], registry: Registry) -> list[MetricRow]:
    return metric_rows(results, declared_values(registry, recipe))


def _table(table: MetricTable) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in (table.names, *(column.label for column in table.columns)))
    return f"<table><tr>{head}</tr>{''.join(_tr(name, texts) for name, texts in table.rows)}</table>"


def _tr(name: str, texts: Sequence[str]) -> str:
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
    return f"<tr><th style='text-align:left'>{html.escape(name)}</th>{cells}</tr>"


def _img(png: bytes, alt: str) -> str:
    return f'<p><img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'
