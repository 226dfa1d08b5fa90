"""What ``bench`` measured, in words: tables for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]
Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""A header and rows."""


def tables(found: Data) -> Iterator[Table]:
    """All tables of a benchmark: how long a step takes, where the time goes, and what the machine could do at best."""
    yield times_table(found)
    yield parts_table(found)
    yield floor_table(found)


def times_table(found: Data) -> Table:
    """Every contender's step, and how often domtrans' own goes into it."""
    times, images = found["times"], 2 * found["batch_size"]
    memory = any("memory_mb" in one for one in times.values())
    header = ["a step of", "median", "middle half", "images/s", "times domtrans'", "by processor time"]
    rows = [
        [
            name,
            milliseconds(one["median"]),
            " to ".join(milliseconds(end) for end in one["quartiles"]),
            f"{images / one['median']:,.0f}",
            f"{one.get('ratio', 1):.2f}",
            f"{one.get('cpu_ratio', 1):.2f}",
            *([f"{one['memory_mb']:,} MB"] if memory else []),
        ]
        for name, one in times.items()
    ]
    return header + (["memory it needs"] if memory else []), rows


def parts_table(found: Data) -> Table:
    """Where the time of a step of domtrans goes, most first."""
    total = sum(found["parts"].values())
    parts = sorted(found["parts"].items(), key=lambda item: -item[1])
    rows = [[name, milliseconds(seconds), f"{seconds / total:.1%}"] for name, seconds in parts]
    if "data_wait" in found:
        rows.append(["of data: waiting for images", milliseconds(found["data_wait"] * total), f"{found['data_wait']:.1%}"])
    return ["where the time goes", "a step", "share"], rows


def floor_table(found: Data) -> Table:
    """The floor, and how much of the step it is."""
    floor, step = found["floor"], found["times"]["domtrans"]["median"]
    rows = [
        [
            "arithmetic",
            f"{floor['operations'] / 1e9:,.1f} GFLOP",
            f"{floor['operations_per_second'] / 1e9:,.0f} GFLOP/s in a product",
            milliseconds(floor["arithmetic_seconds"]),
            f"{floor['arithmetic_seconds'] / step:.0%}",
        ],
        [
            "memory traffic",
            f"{floor['bytes'] / 1e9:,.2f} GB",
            f"{floor['bytes_per_second'] / 1e9:,.1f} GB/s in a copy",
            milliseconds(floor["traffic_seconds"]),
            f"{floor['traffic_seconds'] / step:.0%}",
        ],
    ]
    return ["floor of a step", "work", "this machine's rate", "at least", "of the median"], rows


def growth_table(found: Data) -> Table:
    """One line for every value of every axis that could be measured."""
    header = ["", "domtrans", "images/s", "plain loop and its data", "times domtrans'", "once, before", "waits for images"]
    return header, [_growth_row(point) for point in found["points"] if "times" in point]


def refusals(found: Data) -> list[str]:
    """A sentence for every axis with values that the recipe's parts are not built for, with the first reason that they gave."""
    reasons: dict[str, dict[int, str]] = {}
    for point in found["points"]:
        if "refused" in point:
            reasons.setdefault(point["axis"], {})[point["value"]] = point["refused"]
    return [
        f"not measured: {axis} {', '.join(map(str, values))}, for {next(iter(values.values()))}"
        for axis, values in reasons.items()
    ]


def circumstances(found: Data) -> str:
    """Where and when it was measured, in one line."""
    on, versions = found["computed_on"], found["versions"]
    where = f"{on['name']}, {found['cores']} cores" if on["device"] == "cpu" else on["name"]
    load = f", load {found['load']:g} when it began" if "load" in found else ""
    threads = "one thread" if on["threads"] == 1 else f"{on['threads']} threads"
    return (
        f"{where}, {threads}{load}, {on['precision']}, torch {versions['torch']}, Python {versions['python']}, "
        f"{found['date']}; medians of {found['steps']} steps at batch {found['batch_size']}"
    )


def milliseconds(seconds: float) -> str:
    """Three digits: ``0.52 ms``, ``31.4 ms``, ``1,402 ms``."""
    value = 1000 * seconds
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} ms"


def _growth_row(point: Data) -> list[str]:
    ours, plain = point["times"].values()
    return [
        f"{point['axis']} {point['value']:,}",
        milliseconds(ours["median"]),
        f"{point['images_in_a_step'] / ours['median']:,.0f}",
        milliseconds(plain["median"]),
        f"{plain['ratio']:.2f}",
        f"{point['setup_seconds']:.1f} s",
        f"{point['data_wait']:.1%}" if "data_wait" in point else "",
    ]
