"""Small data and small recipes, for tests that train in well under a second."""

import functools
from pathlib import Path

import numpy as np
import torch

from domtrans import Recipe, Registry, Session, find_recipe, load_plugins, override
from domtrans.training.experiment import prepare
from domtrans.training.trainer import Trainer


@functools.cache
def registry() -> Registry:
    """What the installed plugins brought."""
    return load_plugins().registry


SMALL_FOLDERS = {
    "fit.steps": 1,
    "fit.batch_size": 4,
    "encoder.width": 4,
    "generator.width": 4,
    "discriminator.width": 4,
    "metrics": {},
    "train.steps": 1,
    "train.batch_size": 2,
    "train.validate_every": 0,
}
"""Changes that make the recipe folders-dtn small: one step of thin networks."""


_FACES = {
    "source": {"name": "portraits", "count": 16, "test_count": 8},
    "target": {"name": "avatars", "count": 16, "test_count": 8},
    "image_size": 32,
    "discriminator.width": 4,
    "metrics": {},
    "train.batch_size": 4,
}
_ATTRIBUTES = {"encoder": {"name": "attributes", "width": 4, "features": 8}}
SMALL_FACES = {
    "faces-dtn": _ATTRIBUTES | {"fit": None, "generator.width": 4},
    "faces-dtn-paper": _ATTRIBUTES | {"fit": None, "generator.width": 4},
    "lfw-dtn": {"encoder": "colour-grid", "generator.width": 4},
    "avatars-dtn": _ATTRIBUTES
    | {
        "fit": None,
        "generator": {"name": "parameters", "hidden": 8, "renderer_width": 4, "renderer_steps": 2, "renderer_batch_size": 4},
    },
}
"""Changes that make recipes of faces small."""


def bars(n: int, *, channels: int = 3, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [n, 32, 32, channels] with a bright bar whose place tells the class, and the labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = rng.integers(0, 60, (n, 32, 32, channels), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 + 7 * label : 8 + 7 * label] += 190
    return images, labels


def write_bars(path: Path, n: int = 16, *, labelled: bool = True, **form: int) -> str:
    """An .npz file for the domain ``arrays``; returns its path."""
    images, labels = bars(n, **form)
    np.savez(path, images=images, **({"labels": labels} if labelled else {}))
    return str(path)


def tiny_recipe(folder: Path, base: str = "digits-dtn-paper", /, **changes: object) -> Recipe:
    """A registered recipe scaled down to bars, four steps and thin networks; ``a__b=v`` changes the path ``a.b``."""
    source, target = folder / "source.npz", folder / "target.npz"
    small = {
        "source": {"name": "arrays", "path": write_bars(source), "holdout": 0.25},
        "target": {"name": "arrays", "path": write_bars(target, channels=1, seed=1), "holdout": 0.25},
        "generator.width": 4,
        "discriminator.width": 4,
        "metrics.digits.steps": 2,
        "metrics.digits.batch_size": 4,
        "train.steps": 4,
        "train.batch_size": 4,
        "train.log_every": 1,
        "train.precision": "float32",
    }
    recipe = find_recipe(base, registry())
    fit = "fit.of" if recipe.fit and recipe.fit.name == "each" else "fit"
    small |= {f"{fit}.steps": 2, f"{fit}.batch_size": 4}
    if recipe.adapt:
        small |= {"adapt.steps": 2, "adapt.batch_size": 4}
    if recipe.discriminator.options.get("classes") not in (None, 0, "auto"):
        small["discriminator.classes"] = 4  # as the bars have
    if "variety" in recipe.metrics:
        small["metrics.variety.steps"] = 2
    wanted = {path.replace("__", "."): value for path, value in changes.items()}
    return override(override(recipe, small, registry()), wanted, registry())


def small_faces(name: str) -> Recipe:
    """A recipe of faces on a few drawn ones, with thin networks and an f that is not fitted."""
    return override(find_recipe(name, registry()), _FACES | SMALL_FACES[name], registry())


def small_folders(folder: Path, **changes: object) -> Recipe:
    """The recipe folders-dtn, of maps and patches, on bars."""
    files = {
        name: {"name": "arrays", "path": write_bars(folder / f"{name}.npz"), "holdout": 0.25} for name in ("source", "target")
    }
    small = SMALL_FOLDERS | files | {"image_size": 32, "train.steps": 4}
    return override(find_recipe("folders-dtn", registry()), small | changes, registry())


def tiny_trainer(recipe: Recipe, parts: Registry | None = None) -> Trainer:
    """A trainer of the recipe on the CPU, at step 0; ``parts`` are by default those of the installed plugins."""
    session = Session.start("cpu", precision=recipe.train.precision, seed=recipe.seed)
    torch.manual_seed(0)
    return Trainer(prepare(recipe, parts or registry(), session), session.during("train"))
