"""Load a run from its folder, a model file, or a model hub."""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from domtrans.compute.precision import Precision
from domtrans.errors import DomtransError
from domtrans.model.noise import variant_of
from domtrans.pretrained.hub import fetch, is_on_hub
from domtrans.pretrained.locate import local_path
from domtrans.pretrained.trust import trusted
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.runs.folder import RunFolder
from domtrans.runs.model_file import read_model
from domtrans.runs.projection import ProjectedTransfer
from domtrans.runs.run import Run
from domtrans.session import Listeners, Session
from domtrans.storage.paths import why_no_run


def load(
    path: str | Path,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    registry: Registry | None = None,
    listeners: Listeners = (),
) -> Run:
    """Load a run.

    Args:
        path: A run folder; one of its model files, e.g. ``runs/x/best.safetensors``; ``models:NAME`` of a run that comes with
            domtrans (``list_models``); or ``hf://OWNER/NAME`` (``@REVISION``) of a model on a model hub, which needs the extra
            "hub". The hub's models may also be written ``OWNER/NAME``; a path that exists is never looked up on the hub.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: Of ``Run.transfer``. "bf16" is faster on hardware that supports it, and changes pixels by rounding; "auto"
            chooses it there. Metrics are always computed in float32.
        registry: The parts to build the networks from; by default those of the installed plugins.
        listeners: One function, or several, called with the progress of measurements.

    Returns:
        The run, ready to transfer images. The training data is not needed.

    Raises:
        DomtransError: If there is no run, it is damaged, it cannot be downloaded, it needs a plugin that is missing, or
            ``$DOMTRANS_TRUSTED_KEY`` names a key and the model is not signed with it.
    """
    if precision not in get_args(Precision):
        raise DomtransError(f"the precision '{precision}' is not supported; choose {', '.join(get_args(Precision))}")
    path = fetch(str(path)) if is_on_hub(str(path)) else local_path(path)
    return open_run(trusted(path), device=device, precision=precision, registry=registry, listeners=listeners)


def open_run(
    path: Path,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    registry: Registry | None = None,
    listeners: Listeners = (),
) -> Run:
    """``load`` of a path on this machine, from a process that may be trusted: its signature is not checked."""
    try:
        file = model_file(path)
    except OSError as error:  # a folder without permission, a name that is too long for a file
        raise DomtransError(f"the run in {path} cannot be opened: {error.strerror}") from None
    registry = registry or load_plugins().registry
    recipe, model, about = read_model(file, registry)
    train = recipe.train
    session = Session.start(device, precision=train.precision, seed=recipe.seed, listeners=listeners, workers=train.workers)
    return Run(file, recipe, model.to(session.device), about, registry, session, precision)


def model_file(path: Path) -> Path:
    """The file itself, or the model of the last step in a run folder; DomtransError if there is none."""
    if path.suffix == ".safetensors" and path.is_file():
        return path
    folder = RunFolder(path)
    if not path.is_dir():
        raise DomtransError(f"there is no run in {path}: {why_no_run(path)}")
    if not folder.model_file.is_file():
        folder.recipe()  # raises where there is no run at all
        if folder.results_file.is_file() and not folder.has_training():
            raise DomtransError(f"the run in {path} has lost its {folder.model_file.name}; restore it from a copy")
        raise DomtransError(f"the run in {path} has no model; continue it with `domtrans train {path} --resume`")
    return folder.model_file


def as_run(
    run: Run | str | Path, *, device: str = "auto", precision: Precision = "float32", registry: Registry | None = None
) -> Run:
    """The run itself, or the one that ``load`` finds at a path; the other arguments are for the latter."""
    return run if isinstance(run, Run) else load(run, device=device, precision=precision, registry=registry)


def evaluate(
    run: Run | str | Path,
    changes: list[str] | tuple[str, ...] | Mapping[str, Any] | None = (),
    *,
    source: Any = None,
    target: Any = None,
    device: str = "auto",
    progress: bool | None = None,
) -> dict[str, Any]:
    """Measure a run, or the run at a path; see ``Run.evaluate``."""
    return as_run(run, device=device).evaluate(changes, source=source, target=target, progress=progress)


def _load_again(file: str, device: str, precision: Precision, projected: bool, variant: int) -> Run:
    """Load the run of a pickle, in the process that unpickles it."""
    run = open_run(Path(file), device=device, precision=precision)
    run = run.variant(variant) if variant else run
    return run.project(progress=False) if projected else run


def _reduce(run: Run) -> tuple[Any, ...]:
    """What the pickle of a run holds."""
    projected = isinstance(run.model, ProjectedTransfer)
    return _load_again, (str(run.file.absolute()), str(run.session.device), run.precision, projected, variant_of(run.generator))


copyreg.pickle(Run, _reduce)
