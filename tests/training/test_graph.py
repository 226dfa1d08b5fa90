"""What g and D minimise is one graph for torch.compile: nothing in a step makes it fall back to Python.

torch.compile takes no torch.Generator. Views draw from torch's global generator where they get None instead, and from equal
seeds they draw equal numbers.
"""

import copy
from dataclasses import replace

import pytest
import torch

from domtrans import Part, override, seeded
from domtrans.training.losses import active, fields_read, weighted_sum
from tiny import registry, small_faces, small_folders, tiny_recipe, tiny_trainer

SEED = 3


def both_losses(trainer, batch):
    """L_D and L_G of a batch."""
    experiment = trainer.experiment
    of_d, of_g = (active(each, 0.5) for each in (experiment.discriminator_losses, experiment.generator_losses))
    outputs = trainer.generate(batch, with_graph=True)
    with trainer.session.autocast():
        judged = trainer.judge(outputs, "source_fake", "target_fake", "target")
        judged = replace(judged, discriminate=trainer.discriminator_of(judged))
        encoded = trainer.add_parameters(judged) if experiment.transfer.generator.draws_by_parameters else judged
        encoded = trainer.encode_fakes(encoded, fields_read(of_g))
        return weighted_sum(of_d, judged, "discriminator")[0], weighted_sum(of_g, encoded, "generator")[0]


def digits(folder):
    return override(tiny_recipe(folder, "digits-dtn"), {"fit": None, "discriminator_view": "adaptive"}, registry())


def parameters(folder):
    return small_faces("avatars-dtn")


@pytest.mark.parametrize("recipe", [digits, small_folders, parameters])
def test_both_losses_are_one_graph(tmp_path, recipe):
    trainer = tiny_trainer(override(recipe(tmp_path), {"train.precision": "float32"}, registry()))
    assert trainer.experiment.view or recipe is parameters
    batch = trainer.load_micro_batch(("source", "target"), 0)
    before = {network: copy.deepcopy(network.state_dict()) for network in (trainer.g, trainer.D)}
    trainer.rng = torch.Generator().manual_seed(SEED)
    with seeded(SEED + 1):  # dropout and parameters
        eager = both_losses(trainer, batch)
    for network, state in before.items():  # batch norm and spectral norm moved on
        network.load_state_dict(state)
    trainer.rng = None
    torch._dynamo.reset()
    compiled = torch.compile(lambda outputs: both_losses(trainer, outputs), backend="eager", fullgraph=True)
    with seeded(SEED):
        losses = compiled(batch)
    assert all(loss.requires_grad and loss.isfinite() for loss in losses)
    if recipe is not parameters:
        torch.testing.assert_close(losses, eager)


@pytest.mark.parametrize("name", sorted(set(registry().names("augmentation")) - {"kornia"}))  # its library draws in Python
def test_an_augmentation_is_one_graph_that_draws_the_same_numbers(name):
    options = {"chain": {"steps": ["warp", "stroke"]}, "adaptive": {"initial": 0.5}, "warp": {"elastic": 0.1}}
    augment = registry().build("augmentation", Part(name=name, options=options.get(name, {})))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch._dynamo.reset()
    compiled = torch.compile(lambda images: augment(images, None), backend="eager", fullgraph=True)
    with seeded(SEED):
        changed = compiled(images)
    torch.testing.assert_close(changed, augment(images, torch.Generator().manual_seed(SEED)))
