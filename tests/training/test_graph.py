"""What g and D minimise is one graph for torch.compile: nothing in a step makes it fall back to Python.

The views are left out: they draw from a torch.Generator, which torch.compile cannot trace.
"""

from dataclasses import replace

import pytest
import torch

from domtrans import find_recipe, override
from domtrans.training.losses import active, fields_read, weighted_sum
from tiny import SMALL_FOLDERS, registry, tiny_recipe, tiny_trainer, write_bars

CHANGES = {"view": None, "discriminator_view": None, "train.precision": "bf16"}


def both_losses(trainer, batch):
    """L_D and L_G of a batch."""
    experiment = trainer.experiment
    of_d, of_g = (active(each, 0.5) for each in (experiment.discriminator_losses, experiment.generator_losses))
    outputs = trainer.generate(batch, with_graph=True)
    with trainer.session.autocast():
        judged = trainer.judge(outputs, "source_fake", "target_fake", "target")
        judged = replace(judged, discriminate=trainer.discriminator_of(judged))
        encoded = trainer.encode_fakes(judged, fields_read(of_g))
        return weighted_sum(of_d, judged, "discriminator")[0], weighted_sum(of_g, encoded, "generator")[0]


def vectors(folder):
    return override(tiny_recipe(folder, "digits-dtn"), {"fit": None}, registry())


def maps_and_patches(folder):
    files = {
        name: {"name": "arrays", "path": write_bars(folder / f"{name}.npz"), "holdout": 0.25} for name in ("source", "target")
    }
    return override(find_recipe("folders-dtn", registry()), SMALL_FOLDERS | files | {"image_size": 32}, registry())


@pytest.mark.parametrize("recipe", [vectors, maps_and_patches])
def test_both_losses_are_one_graph(tmp_path, recipe):
    trainer = tiny_trainer(override(recipe(tmp_path), CHANGES, registry()))
    batch = trainer.load_micro_batch(("source", "target"), 0)
    torch._dynamo.reset()
    compiled = torch.compile(lambda outputs: both_losses(trainer, outputs), backend="eager", fullgraph=True)
    with torch.random.fork_rng():
        losses = compiled(batch)
    assert all(loss.requires_grad and loss.isfinite() for loss in losses)
