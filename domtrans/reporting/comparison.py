"""``compare``: a blind page on which people judge the transfers of one run or of two, as in a user study."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from domtrans import __version__
from domtrans.data.image_files import to_pil
from domtrans.errors import DomtransError
from domtrans.pretrained.locate import local_path
from domtrans.reporting.images import data_url
from domtrans.reporting.page import environment
from domtrans.reporting.report import check_replaceable
from domtrans.runs.examples import Examples, read_examples
from domtrans.runs.folder import RunFolder
from domtrans.storage.address import check_local
from domtrans.storage.atomic import write_bytes
from domtrans.storage.paths import why_no_run

Side = Literal["left", "right"]

GENERATOR = f"domtrans-compare {__version__}"
PAGE_MARK = b'<meta name="generator" content="domtrans-compare '
"""Part of the head of every page, of any version."""

QUESTION = "Which of the two shows this picture?"
MAX_IMAGE_BYTES = 200_000
"""Largest size of one image on the page."""


@dataclass(frozen=True)
class ComparisonStudy:
    """What an answer file needs so that its answers can be counted. The page has it too, but does not show it.

    Attributes:
        runs: Names of the runs: one, whose transfer of the picture stands beside that of another picture; or two.
        seed: It decides on which side a transfer is shown.
        trials: Number of pictures.
    """

    runs: tuple[str, ...]
    seed: int
    trials: int

    def side(self, trial: int) -> Side:
        """Where the transfer of the first run is; it is on the left as often as on the right, or once more."""
        ranked = sorted(range(self.trials), key=lambda number: _digest(self.seed, "side", number))
        return "left" if ranked.index(trial) % 2 == 0 else "right"


def compare(
    runs: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    question: str = QUESTION,
    seed: int = 0,
) -> Path:
    """Write a blind page for a user study: a test picture, and below it two transfers to choose from.

    With two runs, these are the transfers of the picture by both runs. With one run, they are its transfers of the picture
    and of another picture, with another label if there are labels. The answers are counted by ``count_answers``. The page is
    one HTML file that loads nothing and sends nothing. Its pictures are the evenly spread examples in the run folders.

    Args:
        runs: One or two folders of finished runs. Two need the same test pictures.
        out: The file. By default ``compare.html`` in the current folder.
        question: The question above the pictures.
        seed: It decides on which side a transfer is shown.

    Returns:
        The path of the page.

    Raises:
        DomtransError: If a folder has no examples, two runs have other pictures, ``question``
            is empty, or ``out`` exists and is not such a page.
    """
    target = Path("compare.html") if out is None else Path(out)
    check_local(target, "a page")
    if not question.strip():
        raise DomtransError("the question of a comparison is empty; write what people should decide, or leave it out")
    paths = [local_path(run, whole=True) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if len(paths) not in (1, 2):
        raise DomtransError(f"a comparison needs one run or two, not {len(paths)}")
    examples = [_examples(path) for path in paths]
    count = examples[0].even
    names = [path.resolve().name for path in paths]
    study = ComparisonStudy(tuple(names if len(set(names)) == len(names) else map(str, paths)), seed, count)
    sources, firsts = _urls(examples[0].source[:count]), _urls(examples[0].generated[:count])
    if len(paths) == 2:
        _check_same_pictures(paths, examples)
        seconds = _urls(examples[1].generated[:count])
    else:
        seconds = [firsts[other] for other in _others(examples[0], seed, paths[0])]
    trials = []
    for number, (picture, one, other) in enumerate(zip(sources, firsts, seconds, strict=True)):
        left, right = (one, other) if study.side(number) == "left" else (other, one)
        trials.append({"picture": picture, "left": left, "right": right})
    check_replaceable(target, PAGE_MARK, "a comparison")
    data: dict[str, Any] = {"study": asdict(study), "trials": trials}
    page = environment().get_template("compare.html").render(generator=GENERATOR, question=question, data=data)
    write_bytes(target, page.encode(errors="replace"), durable=False)
    return target


def _examples(path: Path) -> Examples:
    if not path.is_dir():
        raise DomtransError(f"there is no run in {path}: {why_no_run(path)}")
    file = RunFolder(path).examples_file
    examples = read_examples(file) if file.is_file() else None
    if examples is None or examples.even == 0:
        raise DomtransError(f"{path} has no examples to compare; a run gets them when its training ends")
    return examples


def _check_same_pictures(paths: Sequence[Path], examples: Sequence[Examples]) -> None:
    first, second = (one.source[: one.even] for one in examples)
    if not torch.equal(first, second):
        raise DomtransError(
            f"{paths[0]} and {paths[1]} have examples of different test pictures; compare runs with the same source and "
            "image_size"
        )


def _others(examples: Examples, seed: int, path: Path) -> list[int]:
    """For each picture another one, with another label if there are labels."""
    others = []
    for number in range(examples.even):
        label = examples.labels[number]
        candidates = [k for k in range(examples.even) if k != number and (not label or examples.labels[k] != label)]
        if not candidates:
            raise DomtransError(f"the examples of {path} are all of one class; compare it with a second run")
        others.append(min(candidates, key=lambda k: _digest(seed, "other", number, k)))
    return others


def _urls(images: torch.Tensor) -> list[str]:
    return [data_url(image, MAX_IMAGE_BYTES) for image in to_pil(images)]


def _digest(*words: object) -> bytes:
    """Pseudorandom bytes, the same on every machine."""
    return hashlib.sha256(repr(words).encode()).digest()
