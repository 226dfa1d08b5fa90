"""Trackers: they pass a training on to another tool, line by line.

A tracker only receives what is already in the run folder. If it fails, training continues without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from domtrans.errors import DomtransError, reason_of
from domtrans.recipe.overrides import parse
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part, check_plain, validate
from domtrans.registry.registry import Registry
from domtrans.session import Phase, Session
from domtrans.storage.atomic import write_bytes
from domtrans.storage.run_files import IDENTITY_FILE

Note = Callable[[Phase, int, str], None]
"""(phase, step, sentence): tells the user something."""


class Tracker(Protocol):
    """Passes a training on to another tool.

    Built as ``cls(folder, recipe, identity, **options)`` when a run starts or resumes, before its data is loaded. A run that
    resumes or rolls back logs some steps again; the later line replaces the earlier one.

    Args:
        folder: The run folder.
        recipe: The resolved recipe.
        identity: 32 hexadecimal digits, the same whenever the run resumes.
    """

    def log(self, record: Mapping[str, Any]) -> None:
        """Called after every line of metrics.jsonl.

        Args:
            record: The line: "step", "seconds", values by name, and where there are any, "alarms" by name or "changed".
        """

    def image(self, name: str, path: Path, step: int) -> None:
        """Called after an image file was written to the run folder.

        Args:
            name: What it is, e.g. "samples".
            path: The file.
            step: The training step that it is of.
        """

    def close(self, results: Mapping[str, Any] | None) -> None:
        """Called once, at the end.

        Args:
            results: The content of results.json; None if the training was stopped or failed.
        """


class Trackers:
    """The trackers of one training. The training loop calls it after it has written to the run folder.

    A tracker that raises an exception is reported once and gets no further calls.

    Args:
        note: Called with a phase, a step and a sentence if a tracker fails.
    """

    def __init__(self, note: Note = lambda *_: None) -> None:
        self.active: list[tuple[str, Tracker]] = []
        self.note, self.step = note, 0

    def log(self, record: Mapping[str, Any]) -> None:
        """See ``Tracker.log``."""
        self.step = record["step"]
        self._call("train", "log", record)

    def image(self, name: str, path: Path, step: int) -> None:
        """See ``Tracker.image``."""
        self.step = step
        self._call("train", "image", name, path, step)

    def close(self, results: Mapping[str, Any] | None) -> None:
        """See ``Tracker.close``. Later calls of any method do nothing."""
        self._call("evaluate" if results else "train", "close", results)
        self.active = []

    def _call(self, phase: Phase, method: str, *arguments: Any) -> None:
        for name, tracker in tuple(self.active):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as fault:  # noqa: BLE001 - another tool may raise anything
                self.active.remove((name, tracker))
                self.note(phase, self.step, _failure(name, fault))


def resolve_trackers(track: Sequence[str | Part], registry: Registry) -> list[Part]:
    """Trackers with every option written out.

    Args:
        track: Each is a part, its name, or its table as JSON.
        registry: The parts.

    Raises:
        DomtransError: For an unknown tracker or a wrong option.
    """
    return [registry.resolve("tracker", item if isinstance(item, Part) else _parse_part(item)) for item in track]


def _parse_part(text: str) -> Part:
    value = parse([f"tracker={text}"])[0][1]
    table = value if isinstance(value, dict) else {"name": text}
    check_plain(table, "a tracker")
    part = validate(Part, table, "a tracker")
    assert isinstance(part, Part)
    return part


@contextmanager
def open_trackers(
    parts: Sequence[Part], folder: Path, recipe: Recipe, registry: Registry, session: Session
) -> Iterator[Trackers]:
    """A block with trackers. At its end it closes those that were not closed with results.

    Raises:
        DomtransError: If a tracker raises it because the user must do something first, e.g. install an extra.
    """

    def note(phase: Phase, step: int, sentence: str) -> None:
        session.during(phase).note(step, recipe.train.steps, sentence)

    trackers = Trackers(note)
    try:
        for part in parts:
            try:
                trackers.active.append((part.name, registry.build("tracker", part, folder, recipe, _identity(folder))))
            except DomtransError:
                raise
            except Exception as fault:  # noqa: BLE001 - another tool may raise anything
                note("data", 0, _failure(part.name, fault))
        yield trackers
    finally:
        trackers.close(None)


def _identity(folder: Path) -> str:
    """The identity of the run; created for its first tracker."""
    file = folder / IDENTITY_FILE
    if not file.is_file():
        write_bytes(file, uuid4().hex.encode())
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _failure(name: str, fault: Exception) -> str:
    return f"the tracker '{name}' failed ({reason_of(fault)}); training continues without it, and metrics.jsonl has everything"
