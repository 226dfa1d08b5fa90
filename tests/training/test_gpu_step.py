"""A training step keeps a GPU busy: it mixes no devices, and the host never waits for a value. Checked without a GPU."""

import pytest
import torch

from domtrans import Part, find_recipe, override
from fake_gpu import GPU, GpuWaits, fake_gpu, step_without_waiting, trainer_on_fake_gpu
from tiny import SMALL_FOLDERS, registry, tiny_recipe, write_bars

DIGITS = [entry.name for entry in registry() if entry.kind == "recipe" and entry.owner == "digits"]
FACES = {
    "source": {"name": "portraits", "count": 16, "test_count": 8},
    "target": {"name": "avatars", "count": 16, "test_count": 8},
    "image_size": 32,
    "discriminator.width": 4,
    "metrics": {},
    "train.batch_size": 4,
}
ATTRIBUTES = {"encoder": {"name": "attributes", "width": 4, "features": 8}}
FACE_RECIPES = {
    "faces-dtn": ATTRIBUTES | {"fit": None, "generator.width": 4},
    "faces-dtn-paper": ATTRIBUTES | {"fit": None, "generator.width": 4},
    "lfw-dtn": {"encoder": "colour-grid", "generator.width": 4},
    "avatars-dtn": ATTRIBUTES
    | {
        "fit": None,
        "generator": {"name": "parameters", "hidden": 8, "renderer_width": 4, "renderer_steps": 2, "renderer_batch_size": 4},
    },
}
OPTIONS = {
    "as it is": {},
    "separate updates": {"updates": "separate"},
    "several turns": {"discriminator_steps": 2, "generator_steps": 3},
    "micro-batches": {"accumulate": 2},
    "balanced source": {"balance_source": True},
    "a floor": {"discriminator_floor": 1.0},
    "sgd with a floor": {"discriminator_floor": 1.0, "discriminator_optimizer": {"name": "sgd"}},
    "adamw": {"generator_optimizer": {"name": "adamw"}},
    "no average": {"ema": 0.0},
}
PARTS = {
    "aligned features": {"align_features": True},
    "augmented": {"source_augmentation": "warp", "target_augmentation": "noise", "discriminator_view": "blur"},
    "batch norm in D": {"discriminator__norm": "batch"},
    "total variation": {"generator_losses__tv": "total-variation"},
    "g without f": {"generator": {"name": "digit-image-generator", "width": 4}, "align_features": False},
    "maps and patches": {
        "encoder": {"name": "map-encoder", "width": 4},
        "generator": {"name": "map-generator", "width": 4},
        "discriminator": {"name": "patch-discriminator", "width": 4},
        "align_features": False,  # fake_gpu aligns vectors only
    },
    "networks of any size": {
        "generator": {"name": "image-generator", "width": 4},
        "discriminator": {"name": "image-discriminator", "width": 4},
    },
    "features of fixed networks": {
        "discriminator": {
            "name": "feature-discriminator",
            "width": 4,
            "encoders": [{"name": "map-encoder", "width": 4, "features": 4}],
        },
    },
    "several D's": {
        "discriminator": {
            "name": "joint-discriminator",
            "of": [{"name": "patch-discriminator", "width": 4}, {"name": "image-discriminator", "width": 4}],
        },
    },
    "lecam": {"discriminator_losses__lecam": "lecam"},
    "an adaptive view": {"discriminator_view": "adaptive"},
    **{
        objective: {f"{player}_losses__gan": f"{objective}-{player}" for player in ("generator", "discriminator")}
        for objective in ("least-squares", "hinge", "relativistic")
    },
}


def run_step(recipe):
    """A step in the middle of the run, where every loss counts."""
    trainer = trainer_on_fake_gpu(recipe)
    trainer.step_number = recipe.train.steps // 2
    losses = step_without_waiting(trainer)
    assert {f"generator.{name}" for name in recipe.generator_losses} <= losses.keys()
    assert {f"discriminator.{name}" for name in recipe.discriminator_losses} <= losses.keys()
    assert {(value.device.type, value.shape) for value in losses.values()} == {("cuda", torch.Size())}


@pytest.mark.parametrize("name", DIGITS)
def test_a_step_of_a_digit_recipe_does_not_wait(tmp_path, name):
    run_step(tiny_recipe(tmp_path, name))


@pytest.mark.parametrize("name", FACE_RECIPES)
def test_a_step_of_a_face_recipe_does_not_wait(name):
    run_step(override(find_recipe(name, registry()), FACES | FACE_RECIPES[name], registry()))


def test_a_step_of_a_recipe_of_maps_does_not_wait(tmp_path):
    files = {
        name: {"name": "arrays", "path": write_bars(tmp_path / f"{name}.npz"), "holdout": 0.25} for name in ("source", "target")
    }
    small = SMALL_FOLDERS | files | {"image_size": 32, "train.steps": 4, "align_features": False}  # it aligns vectors only
    run_step(override(find_recipe("folders-dtn", registry()), small, registry()))


@pytest.mark.parametrize("option", OPTIONS)
def test_a_step_with_any_option_does_not_wait(tmp_path, option):
    changes = {f"train__{name}": value for name, value in OPTIONS[option].items()}
    run_step(tiny_recipe(tmp_path, "digits-dtn", **changes))


@pytest.mark.parametrize("updates", ["joint", "separate"])
@pytest.mark.parametrize("part", PARTS)
def test_a_step_with_other_parts_does_not_wait(tmp_path, part, updates):
    if (part, updates) == ("relativistic", "separate"):
        pytest.skip("the loss compares real and generated images of one batch")
    run_step(tiny_recipe(tmp_path, "digits-dtn", train__updates=updates, **PARTS[part]))


@pytest.mark.parametrize("name", sorted(set(registry().names("augmentation")) - {"kornia"}))  # it waits, as its docstring says
def test_an_augmentation_does_not_wait(name):
    options = {"steps": ["flip", "blur"]} if name == "chain" else {}
    augment = registry().build("augmentation", Part(name=name, options=options))
    with fake_gpu(), GpuWaits():
        images = torch.empty(4, 3, 32, 32, device=GPU)
        assert augment(images, None).device.type == "cuda"


@pytest.mark.parametrize("name", sorted(set(registry().names("distance")) - {"perceptual"}))  # that one is a network's
def test_a_distance_does_not_wait(name):
    distance = registry().build("distance", Part(name=name))
    with fake_gpu(), GpuWaits():
        features = torch.empty(4, 32, device=GPU)
        assert distance(features, features, lambda features: features).device.type == "cuda"


def test_a_wait_is_found():
    """What the other tests rely on."""
    with fake_gpu(), GpuWaits():
        images = torch.empty(4, 3, device=GPU)
        waits = {
            "a value on the host": lambda: float(images.sum()),
            "a mask as an index": lambda: images[images > 0],
            "a list as an index": lambda: images[[0, 2]],
            "an index on the host": lambda: images[torch.tensor([0, 2])],
            "a new tensor": lambda: images.new_tensor([1.0, 2.0, 3.0]),
            "a copy to the host": lambda: images.cpu(),
            "two devices": lambda: images + torch.ones(4, 3),
        }
        for name, wait in waits.items():
            with pytest.raises(Exception, match=r"wait|aten|device"):
                wait()
                pytest.fail(f"{name} was not found")
