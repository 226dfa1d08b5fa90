"""The results of ``bench`` as tables, for the terminal and for pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]
Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""A header and rows."""


def tables(data: Data) -> Iterator[Table]:
    """All tables of a benchmark: the time of a step, its parts, and its lower bound."""
    yield times_table(data)
    yield parts_table(data)
    yield lower_bound_table(data)


def times_table(data: Data) -> Table:
    """The step of every contender, and its time relative to domtrans."""
    times, images = data["times"], data["images_in_a_step"]
    has_memory = any("memory_mb" in one for one in times.values())
    header = ["step of", "median", "quartiles", "images/s", "time / domtrans", "CPU time / domtrans"]
    rows = [
        [
            name,
            milliseconds(one["median"]),
            " to ".join(milliseconds(quartile) for quartile in one["quartiles"]),
            f"{images / one['median']:,.0f}",
            f"{one.get('ratio', 1):.2f}",
            f"{one.get('cpu_ratio', 1):.2f}",
            *([f"{one['memory_mb']:,} MB"] if has_memory else []),
        ]
        for name, one in times.items()
    ]
    return header + (["memory"] if has_memory else []), rows


def parts_table(data: Data) -> Table:
    """The time of a step of domtrans by part, the longest first."""
    total = sum(data["parts"].values())
    parts = sorted(data["parts"].items(), key=lambda item: -item[1])
    rows = [[name, milliseconds(seconds), f"{seconds / total:.1%}"] for name, seconds in parts]
    if "data_wait" in data:
        rows.append(["of data: waiting for images", milliseconds(data["data_wait"] * total), f"{data['data_wait']:.1%}"])
    return ["part of a step", "time", "share"], rows


def lower_bound_table(data: Data) -> Table:
    """The lower bound, and its share of the measured step."""
    bound, step = data["floor"], data["times"]["domtrans"]["median"]
    rows = [
        [
            "arithmetic",
            f"{bound['operations'] / 1e9:,.1f} GFLOP",
            f"{bound['operations_per_second'] / 1e9:,.0f} GFLOP/s in a product",
            milliseconds(bound["arithmetic_seconds"]),
            f"{bound['arithmetic_seconds'] / step:.0%}",
        ],
        [
            "memory traffic",
            f"{bound['bytes'] / 1e9:,.2f} GB",
            f"{bound['bytes_per_second'] / 1e9:,.1f} GB/s in a copy",
            milliseconds(bound["traffic_seconds"]),
            f"{bound['traffic_seconds'] / step:.0%}",
        ],
    ]
    return ["lower bound of a step", "work", "measured rate", "time", "share of the median"], rows


def scaling_table(data: Data) -> Table:
    """One row for every value of every axis that could be measured.

    The memory of a step is measured on CUDA. Elsewhere it is that of the tensors that g and D keep for the backward pass.
    """
    header = ["", "domtrans", "images/s", "memory", "plain loop and its data", "time / domtrans", "setup", "waiting for images"]
    return header, [_scaling_row(point) for point in data["points"] if "times" in point]


def refusals(data: Data) -> list[str]:
    """A sentence for every axis with values that the parts of the recipe cannot handle, with the first error message."""
    reasons: dict[str, dict[int, str]] = {}
    for point in data["points"]:
        if "refused" in point:
            reasons.setdefault(point["axis"], {})[point["value"]] = point["refused"]
    return [
        f"not measured: {axis} {', '.join(map(str, values))}: {next(iter(values.values()))}" for axis, values in reasons.items()
    ]


def circumstances(data: Data) -> str:
    """Where and when it was measured, in one line."""
    on, versions = data["computed_on"], data["versions"]
    where = f"{on['name']}, {data['cores']} cores" if on["device"] == "cpu" else on["name"]
    load = f", load {data['load']:g} at the start" if "load" in data else ""
    threads = "one thread" if on["threads"] == 1 else f"{on['threads']} threads"
    return (
        f"{where}, {threads}{load}, {on['precision']}, torch {versions['torch']}, Python {versions['python']}, "
        f"{data['date']}; medians of {data['steps']} steps at batch size {data['batch_size']}"
    )


def milliseconds(seconds: float) -> str:
    """Three digits: ``0.52 ms``, ``31.4 ms``, ``1,402 ms``."""
    value = 1000 * seconds
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} ms"


def megabytes(value: float) -> str:
    """``4.2 MB``, ``1,402 MB``."""
    return f"{value:,.{0 if value >= 10 else 1}f} MB"


def _scaling_row(point: Data) -> list[str]:
    ours, plain = point["times"].values()
    return [
        f"{point['axis']} {point['value']:,}",
        milliseconds(ours["median"]),
        f"{point['images_in_a_step'] / ours['median']:,.0f}",
        megabytes(point["memory_mb"]) if "memory_mb" in point else "",
        milliseconds(plain["median"]),
        f"{plain['ratio']:.2f}",
        f"{point['setup_seconds']:.1f} s",
        f"{point['data_wait']:.1%}" if "data_wait" in point else "",
    ]
