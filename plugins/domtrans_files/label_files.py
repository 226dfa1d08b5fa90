"""Label files: tables of images with their classes and attributes, as CSV, TSV, JSON, JSON lines, or lines "path label"."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domtrans import DomtransError, decode_text
from domtrans_files.image_names import ImageNames

SUFFIXES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt"})

MAX_LABEL_FILE_BYTES = 2**28

MAX_ATTRIBUTE_VALUES = 100
"""Different values of a column above which it is not read as an attribute."""

FILE_COLUMNS = (
    *("file_name", "filename", "file", "image", "image_name", "image_file", "image_path", "img", "img_name", "img_path"),
    *("path", "filepath", "file_path", "image_id", "id", "name", "key"),
)
"""Names of the column with the image file, in order of preference."""

LABEL_COLUMNS = ("label", "class", "class_name", "classname", "label_name", "category", "target", "labels", "y")
"""Names of the column with the class, in order of preference."""

SPLIT_COLUMNS = ("split", "subset", "partition", "fold")
"""Names of the column with the split, in order of preference. A column "fold" of numbers is an attribute instead."""

PARTITION_CODES = {"0": "train", "1": "val", "2": "test"}
"""What the numbers in a column "partition" mean, as CelebA documents them."""


@dataclass(frozen=True)
class LabelFile:
    """The rows of a label file that name images.

    Attributes:
        path: The file.
        labels: By image index: the class name, or "" if the row has none. None without a column of classes.
        splits: By image index, the value of the column "split", with the names that numbers stand for; empty without one.
        attributes: By column and image index, the values.
        notes: Sentences about rows and columns that are not used.
        indices: The images that it names.
    """

    path: Path
    labels: dict[int, str] | None
    splits: dict[int, str]
    attributes: dict[str, dict[int, str]]
    notes: tuple[str, ...]
    indices: frozenset[int]


def read_label_file(path: Path, images: ImageNames, folder: str = "") -> LabelFile | None:
    """A label file with the images that it names; None if it is something else.

    Args:
        path: The file.
        images: The images.
        folder: The folder of the file, relative to that of the images, with "/" and without one at its end.

    Raises:
        DomtransError: If it gives an image two classes, or names images and cannot be read as a whole.
    """
    rows, named, fault = _read_rows(path)
    if not rows:
        return None
    columns = {str(name).strip().lower(): name for row in rows[:1000] for name in row}
    file_column = next((columns[name] for name in FILE_COLUMNS if name in columns), None)
    if file_column is None:
        return None
    found = images.find_all([_text(row.get(file_column)) for row in rows], folder, stems=named)
    if not any(i is not None for i in found):
        return None
    if fault:  # not before: other files, which name no images, may hold anything
        raise DomtransError(f"{path} {fault}")
    label_column = next((columns[name] for name in LABEL_COLUMNS if name in columns and columns[name] != file_column), None)
    pairs = [(i, row) for i, row in zip(found, rows, strict=True) if i is not None]
    split_column = next((columns[name] for name in SPLIT_COLUMNS if name in columns), None)
    if split_column is not None and split_column.strip().lower() == "fold" and _are_numbers(_column(pairs, split_column)):
        split_column = None  # a fold of a cross-validation
    labels = {} if label_column is None else _read_labels(path, pairs, label_column)
    splits = {} if split_column is None else _read_splits(pairs, split_column)
    attributes, unusable = _read_attributes(pairs, {file_column, label_column, split_column})
    notes = []
    if missing := len(rows) - len(pairs):
        notes.append(f"{missing:,} of the {len(rows):,} rows of {path.name} name no image")
    if unusable:
        notes.append(f"columns of {path.name} with too many values to be attributes: {', '.join(unusable)}")
    return LabelFile(
        path, labels if any(labels.values()) else None, splits, attributes, tuple(notes), frozenset(i for i, _ in pairs)
    )


def _read_labels(path: Path, pairs: Iterable[tuple[int, dict[str, Any]]], column: str) -> dict[int, str]:
    """The class of every image. Raises DomtransError for an image with two, and for anything but names and numbers."""
    labels: dict[int, str] = {}
    for i, row in pairs:
        value = row.get(column)
        if isinstance(value, dict | list):
            raise DomtransError(
                f"{path} gives an image a {'list' if isinstance(value, list) else 'table'} as class: {json.dumps(row)[:200]}; "
                "write one name or number, or set layout=flat to read the images without classes"
            )
        label = _text(value)
        if labels.setdefault(i, label) != label:
            raise DomtransError(f"{path} gives an image two classes, '{labels[i]}' and '{label}': {json.dumps(row)[:200]}")
        if is_negative(label):
            raise DomtransError(
                f"{path} gives an image the class {label}: {json.dumps(row)[:200]}; leave the cell of an "
                "unlabelled image empty, or give the class another name"
            )
    return _without_decimals(labels)


def _read_splits(pairs: Iterable[tuple[int, dict[str, Any]]], column: str) -> dict[int, str]:
    """The split of every image, as its cell names it; "" for an empty cell."""
    splits = _without_decimals(_column(pairs, column))
    coded = column.strip().lower() == "partition" and {*splits.values()} <= {"", *PARTITION_CODES}
    return {i: PARTITION_CODES.get(value, "") for i, value in splits.items()} if coded else splits


def _column(pairs: Iterable[tuple[int, dict[str, Any]]], column: str) -> dict[int, str]:
    return {i: _text(row.get(column)) for i, row in pairs}


def _are_numbers(values: Mapping[int, str]) -> bool:
    return all(not value or re.fullmatch(r"[0-9]+(\.0)?", value) for value in values.values())


def _read_attributes(
    pairs: Iterable[tuple[int, dict[str, Any]]], others: Collection[str | None]
) -> tuple[dict[str, dict[int, str]], list[str]]:
    """The values of every other column by image, and the columns that are not attributes."""
    attributes: dict[str, dict[int, str]] = {}
    unusable: set[str] = set()
    for i, row in pairs:
        for column, value in row.items():
            if column in others:
                continue
            if isinstance(value, dict | list):
                unusable.add(str(column))
            elif text := _text(value):
                attributes.setdefault(str(column), {})[i] = text
    unusable |= {name for name, values in attributes.items() if len(set(values.values())) > MAX_ATTRIBUTE_VALUES}
    kept = {name: values for name, values in sorted(attributes.items()) if name.strip() and name not in unusable}
    return kept, sorted(unusable)


def is_negative(label: str) -> bool:
    """Whether a class is a negative number, which stands for "no class" in many data sets."""
    return re.fullmatch(r"-[0-9]+(\.0)?", label) is not None


def _without_decimals(labels: dict[int, str]) -> dict[int, str]:
    """Whole numbers that a program wrote as "1.0" become "1"."""
    if all(not label or re.fullmatch(r"[0-9]+\.0", label) for label in labels.values()):
        return {i: label.removesuffix(".0") for i, label in labels.items()}
    return labels


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return json.dumps(value) if isinstance(value, bool) else str(value).strip()


def _read_rows(path: Path) -> tuple[list[dict[str, Any]], bool, str]:
    """The rows as dicts, whether the file itself names the columns, and what is wrong with it; no rows without a table."""
    try:
        if path.stat().st_size > MAX_LABEL_FILE_BYTES:
            return [], False, ""
        text, fault = _decode(path.read_bytes())
        suffix = path.suffix.lower()
        if suffix == ".json":
            document, invalid = _json_document(text)
            return _json_rows(document), isinstance(document, list), fault or invalid
        if suffix in (".jsonl", ".ndjson"):
            rows, wrong_line = _json_lines(text)
            return rows, True, fault or wrong_line
        rows, named = _list_rows(text) if suffix == ".txt" else _csv_rows(text, "\t" if suffix == ".tsv" else None)
        return rows, named, fault or _unclosed_quote(text, rows)
    except (OSError, ValueError, RecursionError, csv.Error):
        return [], False, ""


def _decode(content: bytes) -> tuple[str, str]:
    """The text of a file, and what is wrong with its encoding. In a wrong encoding, only ASCII characters are right."""
    try:
        return decode_text(content), ""
    except UnicodeDecodeError:
        return content.decode("latin-1"), "is not UTF-8 text; save it as UTF-8, which Excel calls 'CSV UTF-8'"


def _json_document(text: str) -> tuple[Any, str]:
    """The document, and what is wrong with it. Of an invalid one, every string counts as the name of a file."""
    try:
        return json.loads(text), ""
    except json.JSONDecodeError as error:
        message = f"{error.msg[:1].lower()}{error.msg[1:]} in line {error.lineno}"
        return dict.fromkeys(re.findall(r'"([^"\\\n]+)"', text), ""), f"is not valid JSON: {message}; correct it"


def _unclosed_quote(text: str, rows: list[dict[str, Any]]) -> str:
    """What is wrong with a table whose last cell took the lines after a quotation mark; empty if nothing is."""
    swallowed = bool(rows) and any("\n" in str(cell) for cell in rows[-1].values())
    return "has a quotation mark that is not closed; close or remove it" if swallowed and text.count('"') % 2 else ""


def _json_lines(text: str) -> tuple[list[dict[str, Any]], str]:
    """The objects up to the first line that is not one, and what is wrong with that line."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            return rows, f"has no JSON object in line {number}: {line[:80]!r}; correct or remove the line"
        rows.append(row)
    return rows, ""


def _csv_rows(text: str, delimiter: str | None) -> tuple[list[dict[str, Any]], bool]:
    first = text.partition("\n")[0]
    delimiter = delimiter or max(",;\t", key=first.count)
    table = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    if not table:
        return [], False
    header = [cell.strip().lower() for cell in table[0]]
    if set(header) & set(FILE_COLUMNS):
        return [dict(zip(table[0], row, strict=False)) for row in table[1:]], True
    names = ["file", "label", *(f"column {number}" for number in range(3, len(header) + 1))]
    return [dict(zip(names, row, strict=False)) for row in table], False


def _list_rows(text: str) -> tuple[list[dict[str, Any]], bool]:
    """Lines "path label", as torchvision and Caffe write them."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and ("," in lines[0] or "\t" in lines[0]):
        return _csv_rows(text, "," if "," in lines[0] else "\t")
    pairs = [line.rsplit(None, 1) for line in lines]
    complete = all(len(pair) == 2 for pair in pairs)
    return [dict(zip(("file", "label"), pair, strict=True)) for pair in pairs] if complete else [], False


def _json_rows(document: Any) -> list[dict[str, Any]]:
    """A list of objects, an object of file names, or StyleGAN's ``{"labels": [[file, label], ...]}``."""
    if isinstance(document, dict) and isinstance(document.get("labels"), list):
        document = document["labels"]
    if isinstance(document, list):
        pairs = [{"file": row[0], "label": row[1]} if isinstance(row, list) and len(row) == 2 else row for row in document]
        return pairs if all(isinstance(row, dict) for row in pairs) else []
    if not isinstance(document, dict):
        return []
    if any(isinstance(value, dict) for value in document.values()):
        return [{**row, "file": name} for name, row in document.items() if isinstance(row, dict)]
    if all(isinstance(value, list) for value in document.values()):
        return []  # something else about images, such as boxes
    return [{"file": name, "label": label} for name, label in document.items()]
