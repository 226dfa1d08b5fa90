"""Other tools may hear how a training goes: what it is, every line of its log, its samples, and how it ended.

They hear what the run folder has kept already, which stays the truth: nothing that becomes of a tracker stops a training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from domtrans.errors import DomtransError
from domtrans.recipe.overrides import parse
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part, check_plain, validate
from domtrans.registry.registry import Registry
from domtrans.session import Session
from domtrans.storage.atomic import write_bytes

IDENTITY = "identity"
"""Name of the file of a run that says under which name trackers know it."""


Report = Callable[[str, int, str], None]


class Tracker(Protocol):
    """Takes a training to another tool. Built as ``cls(folder, recipe, identity, *, options)`` when a run begins or goes on.

    ``folder``: of the run, a Path. ``recipe``: a resolved Recipe. ``identity``: 32 hex digits, the same when the run goes on.
    A run that goes on, or back to a save, tells steps again; what is told last holds.
    """

    def log(self, record: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl: "step", "seconds", figures by name; "alarms" by name or "changed", where there are any."""

    def image(self, name: str, path: Path, step: int) -> None:
        """A picture that the run folder has got, e.g. a sample grid."""

    def close(self, results: Mapping[str, Any] | None) -> None:
        """The training has ended: with results.json, or, stopped or failed, with None."""


class Trackers:
    """All that hear of one training, by their names. One that fails is reported, once, and hears no more.

    ``report``: called with a phase, a step and a sentence.
    """

    def __init__(self, report: Report = lambda *_: None) -> None:
        self.hearing: list[tuple[str, Tracker]] = []
        self.report, self.step = report, 0

    def log(self, record: Mapping[str, Any]) -> None:
        """See Tracker."""
        self.step = record["step"]
        self._each("train", "log", record)

    def image(self, name: str, path: Path, step: int) -> None:
        """See Tracker."""
        self.step = step
        self._each("train", "image", name, path, step)

    def close(self, results: Mapping[str, Any] | None) -> None:
        """See Tracker; nothing is heard after it."""
        self._each("evaluate" if results else "train", "close", results)
        self.hearing = []

    def _each(self, phase: str, event: str, *what: Any) -> None:
        for name, tracker in tuple(self.hearing):
            try:
                getattr(tracker, event)(*what)
            except Exception as fault:  # noqa: BLE001 - a stranger's tool may raise anything at all
                self.hearing.remove((name, tracker))
                self.report(phase, self.step, _failed(name, fault))


def chosen(track: Sequence[str | Part], registry: Registry) -> list[Part]:
    """Trackers, each a part, its name, or its table as JSON, with every option written out.

    Raises DomtransError for one that there is not, and for wrong options.
    """
    return [registry.resolve("tracker", one if isinstance(one, Part) else _read(one)) for one in track]


def _read(text: str) -> Part:
    value = parse([f"tracker={text}"])[0][1]
    table = value if isinstance(value, dict) else {"name": text}
    check_plain(table, "a tracker")
    part = validate(Part, table, "a tracker")
    assert isinstance(part, Part)
    return part


@contextmanager
def tracked(parts: Sequence[Part], folder: Path, recipe: Recipe, registry: Registry, session: Session) -> Iterator[Trackers]:
    """A block in which trackers hear of a training; it closes those that have heard of no results.

    Raises DomtransError for one that says what the user must do first, e.g. install an extra.
    """

    def report(phase: str, step: int, sentence: str) -> None:
        session.during(phase).note(step, recipe.train.steps, sentence)

    trackers = Trackers(report)
    try:
        for part in parts:
            try:
                trackers.hearing.append((part.name, registry.build("tracker", part, folder, recipe, _identity(folder))))
            except DomtransError:
                raise
            except Exception as fault:  # noqa: BLE001 - as above
                report("data", 0, _failed(part.name, fault))
        yield trackers
    finally:
        trackers.close(None)


def _identity(folder: Path) -> str:
    """The name under which trackers know the run, made when the first one asks."""
    file = folder / IDENTITY
    if not file.is_file():
        write_bytes(file, uuid4().hex.encode())
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _failed(name: str, fault: Exception) -> str:
    reason = " ".join(str(fault).split())[:200] or type(fault).__name__
    return f"the tracker '{name}' failed ({reason}); training goes on without it, and metrics.jsonl has everything"
