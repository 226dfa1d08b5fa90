"""What results.json says besides the metrics: how a run was computed, and what a reader needs to judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domtrans.evaluation.label_free_score import SCORE
from domtrans.evaluation.results import CheckFacts, RunFacts
from domtrans.recipe.data import python_domains
from domtrans.recipe.schema import Recipe
from domtrans.runs.folder import RunFolder
from domtrans.runs.provenance import computed_on
from domtrans.session import Session
from domtrans.training.begin import begun_with


def run_facts(
    recipe: Recipe, session: Session, *, steps: int, seconds: Mapping[str, float], images_per_second: float
) -> RunFacts:
    """The section "run" of a run that was just measured.

    Args:
        recipe: The recipe.
        session: Where it was computed.
        steps: Steps of the run.
        seconds: Seconds of each phase.
        images_per_second: Images of both domains that g and D learned from in a second.
    """
    facts: RunFacts = {
        "steps": steps,
        "seconds": {phase: round(taken, 1) for phase, taken in seconds.items()},
        "images_per_second": round(images_per_second, 1),
        "device": str(session.device),
        "precision": str(session.dtype).removeprefix("torch."),
        "computed_on": computed_on(session, deterministic=recipe.train.deterministic),
        "seed": recipe.seed,
    }
    if session.group.size > 1:
        facts["processes"] = session.group.size
    return facts


def check_facts(
    recipe: Recipe,
    folder: RunFolder,
    *,
    supervision: str,
    repeats: Mapping[str, int | None],
    data_notes: Mapping[str, Sequence[str]],
    drawn_size: int | None,
    measured_before: Sequence[int],
    best: tuple[float, int],
) -> CheckFacts:
    """The section "checks" of a run that was just measured. What does not apply is left out.

    Args:
        recipe: The recipe.
        folder: The run folder, whose log has the alarms and the changes on resuming.
        supervision: Which labels reached the losses and f.
        repeats: Test images of each domain that are among its training images; None if they were not compared.
        data_notes: What the domains say about their images.
        drawn_size: The side of the images that g draws, if it enlarges them.
        measured_before: The steps at which the run was measured before.
        best: The highest label-free score, and its step.
    """
    facts: CheckFacts = {"supervision": supervision, "test_images_in_training": repeats, **_noted_in_log(folder)}
    if from_python := python_domains(recipe):
        facts["data_from_python"] = from_python
    if data_notes:
        facts["data_notes"] = data_notes
    if drawn_size:
        facts["enlarged"] = {"from": drawn_size, "to": recipe.image_size}
    if recipe.train.begin:
        facts["begins_with"] = begun_with(recipe)
    if measured_before:
        facts["measured_before_at"] = measured_before
    if recipe.train.validate_every:
        facts["best"] = {SCORE: best[0], "step": best[1]}
    return facts


def is_finished(folder: RunFolder, steps: int) -> bool:
    """Whether a run of this many steps is trained and measured, and has its model."""
    return folder.results() is not None and folder.model_file.is_file() and steps_measured(folder) >= steps


def steps_measured(folder: RunFolder) -> int:
    """The steps after which the run was measured last; 0 if it never was."""
    return int((folder.results() or {"run": {}})["run"].get("steps", 0))


def measured_before(folder: RunFolder) -> list[int]:
    """The steps at which this run was measured before: its test metrics were known when training was continued."""
    before = folder.results()
    return [] if before is None else [*before["checks"].get("measured_before_at", []), steps_measured(folder)]


def _noted_in_log(folder: RunFolder) -> CheckFacts:
    """The alarms of the health watch and the changes on resuming, each with its step."""
    log = folder.metrics()
    alarms = {name: f"step {line['step']}: {sentence}" for line in log for name, sentence in line.get("alarms", {}).items()}
    changes = [f"from step {line['step']}: {change}" for line in log for change in line.get("changed", ())]
    return {"health": alarms, "changed": changes} if changes else {"health": alarms}
