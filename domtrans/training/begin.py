"""``train.begin``: g and D begin with the weights of another run, to fine-tune it."""

from __future__ import annotations

from typing import Any

from domtrans.model.weights import load_exactly, load_generator
from domtrans.pretrained.locate import local_path
from domtrans.pretrained.trust import trusted
from domtrans.recipe.schema import Recipe
from domtrans.runs.discriminator import read_discriminator
from domtrans.runs.load import model_file
from domtrans.runs.model_file import read_about
from domtrans.session import Session
from domtrans.training.experiment import Experiment


def begin_with(recipe: Recipe, experiment: Experiment, session: Session) -> None:
    """Load the weights of g and D that ``train.begin`` names, if it names a run.

    g gets the averaged weights, which are the ones that the run was measured with. D gets its last ones. Other processes
    receive both with the state of step 0.

    Raises:
        DomtransError: If there is no such run, or its networks have other names or shapes.
    """
    name = recipe.train.begin
    if name is None:
        return
    path, discriminator = trusted(local_path(name)), experiment.discriminator
    load_generator(experiment.transfer.generator, model_file(path))
    weights = read_discriminator(path) if path.is_dir() else None
    if weights is None:
        session.note(2, 2, f"{name} holds no D, so D begins untrained; a run folder with its training state has one")
    else:
        load_exactly(discriminator, weights, path, f"the discriminator {type(discriminator).__name__}")
    if recipe.encoder.weights is None or local_path(recipe.encoder.weights) != path:
        session.note(
            2, 2, f"g begins as in {name}, but f does not, so g was trained for other features; add encoder.weights={name}"
        )


def begun_with(recipe: Recipe) -> dict[str, Any]:
    """What the results say about the run that ``train.begin`` names: its name, and how it was supervised."""
    about = read_about(model_file(local_path(recipe.train.begin or "")))
    return {"run": recipe.train.begin, "supervision": about.get("supervision", "not recorded")}
