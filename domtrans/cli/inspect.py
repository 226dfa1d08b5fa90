"""``domtrans inspect``: what data would be read as, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domtrans.cli.shared import Json, Quiet, explain, run_context
from domtrans.errors import one_line

if TYPE_CHECKING:
    from domtrans.inspection.duplicates import Repeats
    from domtrans.inspection.inspect import DomainInspection, Inspection

MAX_CLASSES = 40
"""Classes in the table; --json lists all."""

MAX_NAMED = 5
"""Damaged files, and pairs of duplicates, that are named."""

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA|RECIPE",
        help="A folder, .npz or .npy file, .tar shards, or a folder of idx or .mat files; or a recipe.",
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH=VALUE", help="Changes to the recipe, e.g. source=svhn; for DATA, options such as source.layout."
    ),
]
Sheet = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a contact sheet with some images of each class, e.g. sheet.png.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Read headers only and decode a sample; do not search for duplicates.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a sheet that domtrans did not write.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Show how data would be read, and what is wrong. Lists splits, classes, skipped files, duplicates; trains nothing.",
            "domtrans inspect photos",
            "domtrans inspect photos layout=classes --sheet sheet.png",
            "domtrans inspect 'data/train-{000..099}.tar' --quick --json",
            "domtrans inspect digits-dtn source=folder source.path=photos",
        )
    )(inspect)


def inspect(
    data: Data,
    changes: Words = None,
    sheet: Sheet = None,
    quick: Quick = False,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.data.image_formats import image_format
    from domtrans.inference.output_files import check_replaceable
    from domtrans.inspection.inspect import inspect as inspect_data
    from domtrans.session import Progress
    from domtrans.storage.address import check_local

    if sheet is not None:
        check_local(sheet, "a contact sheet")
        image_format(sheet)
        if not force:
            check_replaceable([sheet])
    with run_context(quiet=quiet) as context:
        inspection = inspect_data(
            data,
            changes or [],
            registry=context.registry,
            quick=quick,
            report=lambda step, steps, damaged: context.listener(Progress("inspect", step, steps, {"damaged": damaged})),
        )
        if sheet is not None:
            _write_sheet(inspection, sheet)
    if as_json:
        terminal.print_json(inspection.to_json())
        return
    for name, domain in inspection.domains.items():
        _show(name, domain, inspection, is_first=name == next(iter(inspection.domains)))
    if inspection.choices:
        typer.echo("\n" + "\n".join(map(one_line, inspection.choices)))
    if sheet is not None:
        typer.echo(f"\nwrote {one_line(str(sheet))}")


def _write_sheet(inspection: Inspection, path: Path) -> None:
    from domtrans.data.image_files import encode_image
    from domtrans.data.image_formats import image_format
    from domtrans.inference.output_files import write_output
    from domtrans.inference.output_mark import mark_options
    from domtrans.inspection.sheet import draw_sheet

    kind = image_format(path)
    write_output(path, encode_image(draw_sheet(inspection), kind, str(path), **mark_options(kind)))


def _show(name: str, domain: DomainInspection, inspection: Inspection, *, is_first: bool) -> None:
    from domtrans.cli import terminal
    from domtrans.inspection.readings import quote_words

    if not is_first:
        typer.echo()
    splits = list(domain.sets)
    classes = domain.classes
    rows = [("images", *(f"{len(domain.sets[split]):,}" for split in splits))]
    shown = list(classes.items())[:MAX_CLASSES]
    rows += [(f"class {label}", *(f"{counts[split]:,}" for split in splits)) for label, counts in shown]
    if len(classes) > len(shown):
        rows.append((f"{len(classes) - len(shown):,} more classes", *("" for _ in splits)))
    terminal.show_table((name, *splits), rows)
    typer.echo()
    terminal.show_table((), _facts(domain, quick=inspection.quick))
    typer.echo(f"\nread with: {one_line(quote_words(domain.words))}")


def _facts(domain: DomainInspection, *, quick: bool) -> list[tuple[str, str]]:
    """Label and text of everything but the counts."""
    rows = []
    if not domain.classes:
        rows.append(("classes", "none: the images have no labels"))
    for name, known in next(iter(domain.sets.values())).attributes.items():
        rows.append((f"attribute {name}", ", ".join(known.values[:MAX_CLASSES])))
    rows.append(("size", _sizes(domain)))
    rows.append(("kind", _counts(domain.kinds)))
    if domain.formats:
        rows.append(("format", _counts(domain.formats)))
    rows += [("skipped", f"{one.count:,} {one.reason}, e.g. {one.example}") for one in domain.skipped]
    rows += [("note", note) for note in domain.thinned_notes]
    rows += [("label gaps", "; ".join(domain.gaps[:MAX_CLASSES]))] if domain.gaps else []
    rows += _repeats(domain, "duplicates", domain.exact)
    rows += _repeats(domain, "near duplicates (estimate)", domain.near)
    checked = f"{domain.checked:,} images decoded" + (" (a sample)" if quick else "")
    rows.append(("damaged", f"{domain.damaged:,}; {checked}"))
    damaged = [example for table in domain.tables.values() for example in table.damaged_examples]
    rows += [("", f"{file}: {why}") for file, why in damaged[:MAX_NAMED]]
    return rows


def _sizes(domain: DomainInspection) -> str:
    texts = {name: f"{width:,} x {height:,}" for name, (width, height) in domain.sizes.items()}
    if not texts:
        return "unknown"
    if len(set(texts.values())) == 1:
        text = f"all {texts['median']} pixels"
    else:
        text = "; ".join(f"{name} {size}" for name, size in texts.items()) + " pixels"
    return text + (", as read" if domain.size_from == "as read" else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "unknown"


def _repeats(domain: DomainInspection, label: str, found: Repeats | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    texts = [f"{count:,} inside {split}" for split, count in found.inside.items()]
    if len(found.inside) > 1:
        texts.append(f"{found.across:,} in test and train")
    rows = [(label, ", ".join(texts) if found.total else "none")]
    return rows + [("", f"{domain.name(a)} and {domain.name(b)}") for a, b in found.examples[:MAX_NAMED]]
