"""Text and tables for people: styled on a terminal, plain and unwrapped in a pipe or a file."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from domtrans.evaluation.metric_rows import metric_rows, metric_tables, own_rows
from domtrans.evaluation.results import check_rows, not_measured, run_rows

if TYPE_CHECKING:
    from domtrans.cli.doctor import Finding
    from domtrans.registry.describe import Description
    from domtrans.registry.registry import Entry, MetricValue
    from domtrans.runs.verify import Verification
    from domtrans.runs.verify_files import CheckedFile
    from domtrans.sharing.export import Exported


def print_error(message: str) -> None:
    """Print an error, in one line."""
    _print_stderr(Text.assemble(("error: ", "bold red"), _one_line(message)))


def print_warning(message: str) -> None:
    """Print something that the user should know and that stops nothing."""
    _print_stderr(Text.assemble(("warning: ", "bold yellow"), _one_line(message)))


def print_note(message: str) -> None:
    """Print a line beside the result."""
    _print_stderr(Text(_one_line(message)))


def print_json(value: Any) -> None:
    """Print one JSON document on standard output. Numbers that are not finite become null, because JSON has no NaN."""
    print_code(json.dumps(_finite(value), indent=2, allow_nan=False) + "\n", "json")


def print_code(text: str, language: str) -> None:
    """Print code or data on standard output, unchanged; on a terminal it is coloured."""
    if _is_terminal():
        Console().print(Syntax(text.rstrip("\n"), language, theme="ansi_dark", background_color="default"), soft_wrap=True)
    else:
        sys.stdout.write(text)


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns under a header."""
    _print_columns(list(rows), header)


def show_entries(kind: str, entries: Iterable[Entry]) -> None:
    """Print the name, plugin and summary of parts of a kind."""
    show_table((kind, "plugin", "description"), [(one.name, one.owner, _prose(one.summary)) for one in entries])


def show_results(results: Mapping[str, Any], folder: Path, values: Mapping[str, MetricValue], name: str = "") -> None:
    """Print the results of a run: metrics, data, times, and where the files are. ``name`` is the run, if not its folder."""
    from domtrans.runs.folder import RunFolder

    metrics = metric_rows(results, values)
    measured = [(row.label, row.text) for row in own_rows(metrics)]
    tables = metric_tables(metrics)
    rows = [(f"{name}: not measured", why) for name, why in not_measured(results)]
    rows += [*check_rows(results), *run_rows(results)]
    rows.append(("run", name or str(folder)))
    files = RunFolder(folder)
    if (grid := files.newest_sample()) is not None:
        rows.append(("newest sample grid", str(grid)))
    if files.report_file.is_file():
        rows.append(("report", str(files.report_file)))
    if _is_terminal():
        sys.stdout.write("\n")  # apart from the bars above
    strong = [row.label for row in metrics if row.main]
    if not tables:
        _print_columns([*measured, *rows], strong=strong)
        return
    width = max(len(label) for label, _ in [*measured, *rows])
    _print_columns(measured, strong=strong, width=width)
    for table in tables:
        sys.stdout.write("\n")
        header = [table.names, *(column.label for column in table.columns)]
        _print_columns([(name, *texts) for name, texts in table.rows], header, numbers=True)
    sys.stdout.write("\n")
    _print_columns(rows, width=width)


def show_verification(verification: Verification) -> None:
    """Print the values that differ from the recorded ones."""
    rows = [(one.name, str(one.recorded), str(one.found)) for one in verification.differences]
    if rows:
        _print_columns(rows, ("metric", "recorded", "measured now"))
    same = f"{verification.compared - len(rows)} of {verification.compared} values are as recorded"
    tolerance = "" if not verification.tolerance else f" within {verification.tolerance:g} ({verification.why})"
    _console().print(Text(same + tolerance), soft_wrap=True)


def show_checked_files(files: Sequence[CheckedFile], key: Path | None) -> None:
    """Print what is wrong with files, how many are whole, and whether a packed model is signed."""
    from domtrans.storage.signature import CHECKSUMS_FILE, SIGNATURE_FILE

    faults = [(file.name, file.fault) for file in files if file.fault]
    if faults:
        _print_columns(faults, ("file", "fault"))
    whole, names = f"{len(files) - len(faults)} of {len(files)} files are whole", {file.name for file in files}
    if key is not None and not faults:
        whole += f"; they are signed with {key}"
    elif key is None and CHECKSUMS_FILE in names:
        whole += "; the signature was not checked (--key)" if SIGNATURE_FILE in names else "; the model is not signed"
    _console().print(Text(whole), soft_wrap=True)


def show_export(exported: Exported, values: Mapping[str, MetricValue]) -> None:
    """Print what was written, and how it compares with the original."""
    before, after = ({row.label: row.text for row in metric_rows(of, values)} for of in (exported.before, exported.after))
    rows = [(label, text, after[label]) for label, text in before.items() if label not in ("source data", "target data")]
    if rows:
        _print_columns(rows, ("metric", "PyTorch", exported.precision))
    for name, why in not_measured(exported.after):
        _print_columns([(f"{name}: not measured", why)])
    file, form = exported.file, f"ONNX opset {exported.opset}" if exported.opset else "torch.export"
    size = f"{file.stat().st_size / 1e6:.1f} MB"
    difference = f"pixels differ by at most {exported.most} of 255 levels, {exported.mean:.2g} on average"
    text = (
        f"wrote {_printable(str(file))}: {form}, {exported.precision}, {size}; {difference} ({exported.images} source images)"
    )
    _console().print(Text(text), soft_wrap=True)


def show_plugins(plugins: Iterable[Mapping[str, Any]]) -> None:
    """Print every plugin: where it comes from, and what it registers or why it is broken."""
    console = _console()
    for plugin in plugins:
        interface = "not stated" if plugin["interface"] is None else plugin["interface"]
        origin = f"{plugin['distribution']} {plugin['version']}, module {plugin['module']}, interface {interface}"
        console.print(Text.assemble((plugin["name"], "bold"), f"  ({origin})"), soft_wrap=True)
        if plugin["error"]:
            console.print(Text.assemble(("  broken: ", "bold red"), _one_line(plugin["error"])), soft_wrap=True)
            if plugin.get("details"):
                console.print(Text("    " + plugin["details"].rstrip().replace("\n", "\n    ")), soft_wrap=True)
        if plugin["advice"]:
            console.print(Text.assemble(("  note: ", "bold yellow"), _one_line(plugin["advice"])), soft_wrap=True)
        _print_columns([(f"  {kind}", ", ".join(names)) for kind, names in plugin["registers"].items()])


def show_part(part: Description) -> None:
    """Print what a part is, and its options."""
    from domtrans.registry.describe import default_in_words

    console = _console()
    console.print(
        Text.assemble((f"{part.kind} {part.name}", "bold"), f"  (plugin {part.plugin}, {part.module})"), soft_wrap=True
    )
    console.print(Text(_one_line(_prose(part.summary))), soft_wrap=True)
    handed = f"takes {', '.join(part.handed_in)} from the engine; " if part.handed_in else ""
    console.print(Text(f"{handed}returns {part.gives}"), soft_wrap=True)
    if part.licence:
        console.print(Text(f"licence: {_one_line(part.licence)}"), soft_wrap=True)
    if not part.options:
        console.print(Text("no options"))
        return
    console.print()
    rows = [(one.name, one.type, default_in_words(one.default), _prose(one.help)) for one in part.options]
    _print_columns(rows, ("option", "type", "default", "description"))


STATUS_WORDS = {"ok": ("ok", "green"), "note": ("note", "bold yellow"), "broken": ("BROKEN", "bold red")}


def show_findings(findings: Iterable[Finding]) -> None:
    """Print the results of ``domtrans doctor``, and how to fix what is wrong."""
    console = _console()
    for finding in findings:
        word, style = STATUS_WORDS[finding.status]
        line = Text.assemble((f"{word:<7}", style), f"{finding.name}: {_one_line(finding.found)}")
        console.print(line, soft_wrap=True)
        if finding.fix:
            console.print(Text(f"       fix: {_one_line(finding.fix)}", "cyan"), soft_wrap=True)


def _print_columns(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = (),
    strong: Sequence[str] = (),
    *,
    width: int = 0,
    numbers: bool = False,
) -> None:
    """Print rows as aligned columns.

    Args:
        rows: The cells of each row.
        header: The heads of the columns.
        strong: First cells of the rows to emphasise.
        width: Least width of the first column.
        numbers: Whether the other columns are aligned at the right.
    """
    rows = [[_printable(cell) for cell in row] for row in rows]
    if _is_terminal():
        grid = Table.grid(padding=(0, 2, 0, 0))
        for column in range(len(rows[0]) if rows else 0):
            if column == 0:
                grid.add_column(no_wrap=True, min_width=width)
            else:
                grid.add_column(overflow="fold", justify="right" if numbers else "left")
        if header:
            grid.add_row(*(Text(name, "bold") for name in header))
        for row in rows:
            first, *rest = row
            style = "bold green" if first in strong else ""
            grid.add_row(Text(first, "bold" if header else "cyan"), *(Text(cell, style) for cell in rest))
        _console().print(grid)
        return
    lines = [list(header), *rows] if header else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for head, *others in lines:
        padded = [cell.rjust(wide) if numbers else cell.ljust(wide) for cell, wide in zip(others, widths[1:], strict=True)]
        sys.stdout.write("  ".join([head.ljust(max(width, widths[0])), *padded]).rstrip() + "\n")


def _console() -> Console:
    return Console(highlight=False)


def _is_terminal() -> bool:
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def _print_stderr(text: Text) -> None:
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)


def _prose(docstring: str) -> str:
    """Text of a docstring without its marks for code."""
    return docstring.replace("``", "")


def _one_line(text: str) -> str:
    return _printable(" ".join(text.split()))


def _printable(text: str) -> str:
    """Text without control characters: file names come from anywhere and must not control the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
