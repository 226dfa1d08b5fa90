"""A run with its weights rounded to float16: half the size, measured again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from domtrans.errors import DomtransError
from domtrans.evaluation.results import in_sections, results_of
from domtrans.runs.folder import RunFolder
from domtrans.runs.load import load
from domtrans.runs.provenance import computed_on
from domtrans.runs.run import Run
from domtrans.storage.tensors import not_finite, read_tensors


def in_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels in float16. Vectors and numbers stay: they are small, and normalisation divides by some of them.

    Raises:
        DomtransError: If a weight is too large for float16.
    """
    large = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point() and tensor.ndim > 1}
    rounded = {name: tensor.half() for name, tensor in large.items()}
    bad = not_finite(rounded)
    if bad:
        raise DomtransError(f"the weights {bad[:200]} are too large for float16; leave out --fp16")
    return {**weights, **rounded}


def half_run(run: Run, folder: Path) -> Run:
    """Write the model of a run into a folder in float16, and load and measure it there.

    Args:
        run: The run.
        folder: An existing folder, which gets model.safetensors.

    Returns:
        The rounded run. If ``run`` has results, its own are those of the rounded weights.

    Raises:
        DomtransError: If a weight is too large for float16, or the test data is not available.
    """
    weights, _ = read_tensors(run.file)
    about = {**run.about, "stored_as": "float16"}
    RunFolder(folder).save_model(in_half(weights), run.recipe, about)
    rounded = load(folder, device=str(run.session.device), registry=run.registry)
    if run.results:
        before = in_sections(run.results)
        measured = rounded.evaluate()
        computed = computed_on(rounded.session, deterministic=run.recipe.train.deterministic)
        where = {"device": computed["device"], "precision": computed["precision"], "computed_on": computed}
        rounded.results = results_of(measured, run=before["run"] | where, checks=before["checks"])
    return rounded
