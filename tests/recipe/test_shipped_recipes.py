"""The shipped recipes train, also after changes of every kind, and are measured."""

import numpy as np
import pytest
import torch
from PIL import Image

from domtrans import DomtransError, find_recipe, train
from tiny import registry, tiny_recipe, tiny_trainer

OF_DIGITS = [entry.name for entry in registry() if entry.kind == "recipe" and entry.owner == "digits"]
"""Those of faces: test_faces_training.py."""
VARIANTS = {
    "as it is": {},
    "separate updates": {"train__updates": "separate"},
    "more turns": {"train__generator_steps": 2, "train__discriminator_steps": 2},
    "more turns of g": {"train__generator_steps": 2},
    "D never steps": {"train__discriminator_floor": 100.0},
    "sgd": {"train__generator_optimizer__name": "sgd", "train__discriminator_optimizer__name": "sgd"},
    "adamw": {"train__generator_optimizer": {"name": "adamw", "weight_decay": 0.01}},
    "no average": {"train__ema": 0},
    "balanced source": {"train__balance_source": True},
    "bf16": {"train__precision": "bf16"},
    "augmented": {"source_augmentation": "warp", "target_augmentation": "noise", "view": "paint", "discriminator_view": "blur"},
    "tv": {"generator_losses__tv": {"name": "total-variation", "weight": 0.001}},
    "weighted": {"generator_losses__const__distance": "weighted"},
    "no D": {"discriminator_losses__gan": None, "generator_losses__gan": None},
    "batch norm": {"discriminator__norm": "batch", "train__updates": "separate"},
    "RGB target": {"target": {"name": "street-digits", "count": 20, "test_count": 10}, "metrics": {}},
}


CASES = [(name, variant) for name in ("digits-dtn-paper", "digits-dtn") for variant in VARIANTS]
CASES += [(name, "as it is") for name in OF_DIGITS if name not in ("digits-dtn-paper", "digits-dtn")]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_recipe_takes_two_steps_whatever_is_changed(tmp_path, name, variant):
    recipe = tiny_recipe(tmp_path, name, **({"train__steps": 2} | VARIANTS[variant]))
    trainer = tiny_trainer(recipe)
    before = {key: value.clone() for key, value in trainer.g.named_parameters()}
    D_before = [value.clone() for value in trainer.D.parameters()]  # noqa: N806
    losses = trainer.step() | trainer.step()
    wanted = {f"generator.{key}" for key in recipe.generator_losses}
    wanted |= {f"discriminator.{key}" for key in recipe.discriminator_losses}
    assert {key for key in losses if not key.startswith("health.")} == wanted
    assert all(value.shape == () and torch.isfinite(value) for value in losses.values())
    moved = [key for key, value in trainer.g.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) == len(before)
    D_moved = any(not torch.equal(a, b) for a, b in zip(D_before, trainer.D.parameters(), strict=True))  # noqa: N806
    assert D_moved == (variant not in {"D never steps", "no D"})


@pytest.mark.parametrize("name", registry().names("recipe"))
def test_every_recipe_is_complete(name):
    recipe = find_recipe(name, registry())
    assert recipe.name == name and recipe.description
    assert recipe.metrics


@pytest.mark.parametrize("name", OF_DIGITS)
def test_every_recipe_trains_and_is_measured(tmp_path, name):
    recipe = tiny_recipe(tmp_path, name, train__steps=2)
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    assert run.results["steps"] == 2 and run.results["n"] == 4
    assert "arrays" in run.results["source"] and run.results["device"] == "cpu" and run.results["precision"] == "float32"
    assert set(run.results["seconds"]) == {"data_and_encoder", "training", "evaluation"}
    assert "not_measured" not in run.results


def test_two_folders_without_labels_train(tmp_path):
    rng = np.random.default_rng(0)
    for domain in ("source", "target"):
        (tmp_path / domain).mkdir()
        for number in range(8):
            image = Image.fromarray(rng.integers(0, 256, (40, 70, 3), dtype=np.uint8))
            image.save(tmp_path / domain / f"{number}.png")
    small = {
        "source.path": str(tmp_path / "source"),
        "target.path": str(tmp_path / "target"),
        "encoder.width": 4,
        "fit.steps": 1,
        "fit.batch_size": 2,
        "generator.width": 8,
        "discriminator.width": 8,
        "train.steps": 1,
        "train.batch_size": 2,
    }
    run = train("photos-dtn", tmp_path / "run", overrides=small, device="cpu", registry=registry())
    assert run.results["steps"] == 1 and run.results["checks"]["supervision"] == "none of the target"


def test_photos_dtn_asks_for_its_folders(tmp_path):
    with pytest.raises(DomtransError, match=r"needs a folder; give it with source.path=FOLDER or target.path=FOLDER"):
        train("photos-dtn", tmp_path / "run", device="cpu", registry=registry())
