"""Charts as PNG: losses by step, confusion matrices, and speed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from domtrans.data.classes import natural_key

COLUMNS = 3


def losses_png(logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """One small chart per loss, with one line per run.

    Args:
        logs: The lines of metrics.jsonl, by the name of the run.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for log in logs.values() for line in log for name in line if _is_loss(name)))
    height = max(1, -(-len(names) // COLUMNS))
    figure = Figure(figsize=(4 * COLUMNS, 2.6 * height), layout="constrained")
    charts = figure.subplots(height, COLUMNS, squeeze=False).flat
    for name, chart in zip(names, charts, strict=False):
        for run, log in logs.items():
            points = [(line["step"], line[name]) for line in log if name in line]
            chart.plot(*zip(*points, strict=True), label=run, linewidth=1)
        chart.set_title(name, fontsize=9)
        chart.tick_params(labelsize=7)
        chart.set_xlabel("step", fontsize=7)
    for chart in list(charts):  # without a loss
        chart.set_axis_off()
    if names and len(logs) > 1:
        figure.axes[0].legend(fontsize=7)
    return _png(figure)


def confusion_png(counts: Sequence[Sequence[float]], classes: Sequence[str]) -> bytes:
    """A confusion matrix: one row per label of x, one column per prediction of the evaluator for G(x)."""
    from matplotlib.figure import Figure

    totals = [max(sum(row), 1) for row in counts]
    shares = [[count / total for count in row] for row, total in zip(counts, totals, strict=True)]
    side = 1.6 + 0.42 * len(classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    chart = figure.subplots()
    chart.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    chart.set_xticks(range(len(classes)), classes)
    chart.set_yticks(range(len(classes)), classes)
    chart.set_xlabel("prediction for G(x)")
    chart.set_ylabel("label of x")
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            if share >= 0.005:
                colour = "white" if share > 0.5 else "black"
                chart.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    return _png(figure)


def scaling_png(points: Sequence[Mapping[str, Any]]) -> bytes:
    """Images per second along every axis of ``bench --curves``, one line per contender."""
    from matplotlib.figure import Figure

    measured = [point for point in points if "times" in point]
    axes = list(dict.fromkeys(point["axis"] for point in measured))
    figure = Figure(figsize=(4 * len(axes) or 4, 3.2), layout="constrained")
    for chart, axis in zip(figure.subplots(1, max(1, len(axes)), squeeze=False).flat, axes, strict=False):
        on_axis = [point for point in measured if point["axis"] == axis]
        values = [str(point["value"]) for point in on_axis]  # as text they are evenly spaced; they grow by factors
        for name in on_axis[0]["times"]:
            speeds = [point["images_in_a_step"] / point["times"][name]["median"] for point in on_axis]
            chart.plot(values, speeds, marker="o", label=name)
        chart.set_xlabel(axis)
        chart.set_ylim(bottom=0)
    if axes:
        figure.axes[0].set_ylabel("images/s")
        figure.axes[0].legend(fontsize=8)
    return _png(figure)


def trials_png(data: Mapping[str, Any]) -> bytes:
    """The values of a sweep's trials: in their order, and by each option. ``data``: the content of ``table.json``."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    done = [row for row in data["trials"] if row["value"] is not None]
    charts = 1 + len(data["paths"])
    rows = -(-charts // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 2.6 * rows), layout="constrained")
    places = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for chart, name in zip(places, ["trial", *data["paths"]], strict=False):
        points = [(row["trial"] if name == "trial" else row["changes"][name], row["value"]) for row in done]
        if points and isinstance(points[0][0], str):
            points.sort(key=lambda point: natural_key(point[0]))  # the axis has texts in their order of appearance
        elif name == "trial":
            chart.xaxis.get_major_locator().set_params(integer=True)
        chart.scatter([x for x, _ in points], [y for _, y in points], s=16)
        if name in data["logarithmic"]:
            chart.set_xscale("log")
            chart.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            chart.xaxis.set_major_formatter("{x:g}")
            chart.xaxis.set_minor_formatter("")
        chart.set_title(name, fontsize=9)
        chart.tick_params(labelsize=7)
    for chart in places[charts:]:
        chart.set_axis_off()
    places[0].set_ylabel(data["by"], fontsize=8)
    return _png(figure)


def _is_loss(name: str) -> bool:
    return name.startswith(("generator.", "discriminator."))


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
