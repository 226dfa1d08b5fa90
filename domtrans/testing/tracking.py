"""Checks of trackers, on the run folder of a short example training."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from domtrans.data.grid import pair_grid, png
from domtrans.evaluation.results import results_of
from domtrans.recipe.schema import EncoderPart, Recipe, term, use
from domtrans.runs.folder import RunFolder
from domtrans.testing.contracts import examine
from domtrans.testing.runs import example_images

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

IDENTITY = "0123456789abcdef" * 2
RESULTS = results_of(
    {"transfer_accuracy": 0.9, "confusion": [[3, 1], [0, 4]]},
    run={"steps": 2, "seconds": {"training": 1.5}, "device": "cpu"},
    checks={"health": {}},
)


def check_tracker(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a tracker against its contracts, with the log of two steps, of which the second comes twice.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the tracker; choose those that keep it on this machine.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("tracker", where, name, options)
    lines: list[dict[str, Any]] = [{"generator.const": 2.0}, {"alarms": {"d-wins": "D wins"}, "generator.const": 1.0}]
    images = example_images(4).images
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place))
        folder.samples.mkdir()
        folder.recipe_file.write_text(example_recipe().to_json())
        for step, line in enumerate(lines, 1):
            folder.save_sample(step, png(pair_grid(images, images)))
            folder.log({"step": step, "seconds": float(step), **line})
        before = contents(folder.path)
        with subject.works("tracker-receives", "it receives a training"):
            tracker = subject.build(folder.path, example_recipe(), IDENTITY)
            for path, record in zip(sorted(folder.samples.iterdir()), folder.metrics(), strict=True):
                tracker.image("samples", path, record["step"])
                tracker.log(record)
            tracker.close(None)
        with subject.works("tracker-resumes", "it receives the same steps again"):
            again = subject.build(folder.path, example_recipe(), IDENTITY)
            again.log({"step": 1, "seconds": 1.0, "changed": ["train.workers: 0 -> 1"]})
            again.log({"step": 1, "seconds": 1.0, "alarms": {"rollback-1": "continuing from step 1"}})
            again.log({"step": 2, "seconds": 2.0, "generator.const": 0.5})
            again.close(RESULTS)
        after = contents(folder.path)
        changed = [path for path, content in before.items() if after.get(path) != content]
        subject.require(not changed, "tracker-harmless", f"it changes {', '.join(changed)}")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def example_recipe() -> Recipe:
    """Return a recipe, which is not trained."""
    return Recipe(
        name="example",
        description="bars to bars",
        source=use("arrays", path="source.npz"),
        target=use("arrays", path="target.npz"),
        encoder=EncoderPart(name="digit-encoder"),
        generator=use("digit-generator"),
        discriminator=use("digit-discriminator"),
        generator_losses={"const": term("feature-consistency", distance="mse")},
        discriminator_losses={},
    )
