"""A training step keeps a GPU busy: it mixes no devices, and the host never waits for a value. Checked without a GPU."""

import pytest
import torch

from domtrans import override
from domtrans.runs.folder import RunFolder
from domtrans.training.loop import Loop
from fake_gpu import GPU, GpuWaits, fake_gpu, step_without_waiting, trainer_on_fake_gpu
from tiny import SMALL_FACES, registry, small_faces, small_folders, tiny_recipe

DIGITS = [entry.name for entry in registry() if entry.kind == "recipe" and entry.owner == "digits"]
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
    "g without f": {"generator": {"name": "digit-image-generator", "width": 4}, "align_features": False},
    "maps and patches": {
        "encoder": {"name": "map-encoder", "width": 4},
        "generator": {"name": "map-generator", "width": 4},
        "discriminator": {"name": "patch-discriminator", "width": 4},
        "align_features": True,
    },
    "several D's": {
        "discriminator": {
            "name": "joint-discriminator",
            "of": [{"name": "patch-discriminator", "width": 4}, {"name": "image-discriminator", "width": 4}],
        },
    },
    "lecam": {"discriminator_losses__lecam": "lecam"},
    "R1 and R2": {
        f"discriminator_losses__{images}": {"name": "gradient-penalty", "images": images} for images in ("real", "generated")
    },
    "perceptual": {
        "generator_losses__tid__distance": {"name": "perceptual", "encoder": {"name": "map-encoder", "width": 4}},
    },
    "an adaptive view": {"discriminator_view": "adaptive"},
    "relativistic": {f"{player}_losses__gan": f"relativistic-{player}" for player in ("generator", "discriminator")},
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


@pytest.mark.parametrize("name", SMALL_FACES)
def test_a_step_of_a_face_recipe_does_not_wait(name):
    run_step(small_faces(name))


def test_a_step_of_a_recipe_of_maps_does_not_wait(tmp_path):
    run_step(small_folders(tmp_path))


@pytest.mark.parametrize("option", OPTIONS)
def test_a_step_with_any_option_does_not_wait(tmp_path, option):
    changes = {f"train__{name}": value for name, value in OPTIONS[option].items()}
    run_step(tiny_recipe(tmp_path, "digits-dtn", **changes))


@pytest.mark.parametrize("part", PARTS)
def test_a_step_with_other_parts_does_not_wait(tmp_path, part):
    """Every part of its own is in test_gpu_parts.py."""
    run_step(tiny_recipe(tmp_path, "digits-dtn", **PARTS[part]))


@pytest.mark.parametrize("part", ["batch norm in D", "several D's", "lecam", "R1 and R2"])
def test_a_step_of_separate_updates_does_not_wait(tmp_path, part):
    run_step(tiny_recipe(tmp_path, "digits-dtn", train__updates="separate", **PARTS[part]))


@pytest.mark.parametrize("held", [False, True])
def test_between_two_lines_of_the_log_a_run_that_may_roll_back_does_not_wait(tmp_path, held):
    often = {f"train.{name}_every": 2 for name in ("log", "save", "sample")}
    recipe = override(
        tiny_recipe(tmp_path, "digits-dtn"),
        often | {"train.rollbacks": 2, "train.health.watch": False, "train.validate_every": 0},
        registry(),
    )
    trainer = trainer_on_fake_gpu(recipe)
    trainer.hold_discriminator = held
    with fake_gpu():
        loop = Loop(trainer, RunFolder(tmp_path / "run"), recipe, trainer.source, {})

    def step_and_what_is_due():
        loop.meter.add(trainer.step())
        loop.finish_step()

    step_without_waiting(trainer, step_and_what_is_due)
    assert trainer.step_number == 1 and loop.meter.counts["generator.const"] == 1


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
