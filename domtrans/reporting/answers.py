"""Count the answers that people gave on a page of ``compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.reporting.comparison import ComparisonStudy

MAX_FILE_BYTES, MAX_TRIALS = 1_000_000, 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Tally:
    """The answers of several people.

    Attributes:
        runs: Names of the runs: two that were compared; or one, whose right transfer was looked for.
        people: Number of answer files.
        answers: Number of answers.
        first: How many of them chose the transfer of the first run (of the right picture, if there is one run).
        skipped: How often people could not say.
        low: Lower end of the 95 % interval of the share first / answers (Clopper and Pearson 1934).
        high: Upper end.
        p_value: Two-sided exact binomial test of the share against one half.
    """

    runs: tuple[str, ...]
    people: int
    answers: int
    first: int
    skipped: int
    low: float
    high: float
    p_value: float

    def to_json(self) -> dict[str, Any]:
        """The fields, and the share, as plain values."""
        share = self.first / self.answers
        interval = [round(self.low, 4), round(self.high, 4)]
        counts = {"people": self.people, "answers": self.answers, "first": self.first, "skipped": self.skipped}
        return {"runs": list(self.runs), **counts, "share": round(share, 4), "interval": interval, "p_value": self.p_value}

    def __str__(self) -> str:
        """One sentence for each part of the result."""
        what = f"{self.runs[0]} was chosen over {self.runs[1]}" if len(self.runs) == 2 else "the right transfer was chosen"
        people = "1 person" if self.people == 1 else f"{self.people} people"
        return (
            f"{what} in {self.first} of {self.answers} answers of {people}: {_percent(self.first / self.answers)} "
            f"(95 % interval {_percent(self.low)} to {_percent(self.high)}; p = {self.p_value:.2g} against one half; "
            f"{self.skipped} without an answer)"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def count_answers(files: str | Path | Sequence[str | Path]) -> Tally:
    """Count the answers in files that pages of ``compare`` wrote.

    The interval and the test treat all answers as independent. Answers of one person, or about one picture, may not be: with
    few people or pictures the true interval is wider.

    Args:
        files: One file for each person. All need the same runs in the same order; the seed may differ.

    Returns:
        The counts.

    Raises:
        DomtransError: If a file is damaged or has no such answers, or the files are about different runs.
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    read = [_read(path) for path in paths]
    if not read:
        raise DomtransError("there are no answers to count; name the files that the page wrote")
    for path, (study, _) in zip(paths, read, strict=True):
        if study.runs != read[0][0].runs:
            raise DomtransError(
                f"{path} is about {' and '.join(study.runs)}, and {paths[0]} about {' and '.join(read[0][0].runs)}; "
                "count the answers about the same runs"
            )
    given = [(study.side(number), side) for study, sides in read for number, side in enumerate(sides)]
    sides = [(right, side) for right, side in given if side is not None]
    if not sides:
        raise DomtransError("the files have no answers: nobody chose a picture")
    first = sum(right == side for right, side in sides)
    from scipy.stats import binomtest  # a second to import

    test = binomtest(first, len(sides))
    interval = test.proportion_ci(CONFIDENCE)
    skipped = len(given) - len(sides)
    values = (float(interval.low), float(interval.high), float(test.pvalue))
    return Tally(read[0][0].runs, len(read), len(sides), first, skipped, *values)


def _read(path: Path) -> tuple[ComparisonStudy, list[str | None]]:
    """The study of a file, and the side that was chosen for each picture; None without an answer."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        study = ComparisonStudy(tuple(content["study"]["runs"]), content["study"]["seed"], content["study"]["trials"])
        answers = content["answers"]
    except OSError as error:
        raise DomtransError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise DomtransError(f"{path} is not a file of answers that a page of 'domtrans compare' wrote") from None
    valid = (
        len(study.runs) in (1, 2)
        and all(isinstance(name, str) for name in study.runs)
        and isinstance(study.seed, int)
        and isinstance(answers, list)
        and study.trials == len(answers) <= MAX_TRIALS
        and all(answer in ("left", "right", None) for answer in answers)
    )
    if not valid:
        raise DomtransError(f"{path} is not a file of answers that a page of 'domtrans compare' wrote")
    return study, answers
