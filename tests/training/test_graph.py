"""What g and D minimise is one graph for torch.compile: nothing in a step makes it fall back to Python.

The view is left out: it draws from a torch.Generator, which torch.compile cannot trace.
"""

from dataclasses import replace

import torch

from domtrans import override
from domtrans.training.losses import active, fields_read, weighted_sum
from tiny import registry, tiny_recipe, tiny_trainer

CHANGES = {"view": None, "train.precision": "bf16", "fit": None}


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


def test_both_losses_are_one_graph(tmp_path):
    trainer = tiny_trainer(override(tiny_recipe(tmp_path, "digits-dtn"), CHANGES, registry()))
    batch = trainer.load_micro_batch(("source", "target"), 0)
    torch._dynamo.reset()
    compiled = torch.compile(lambda outputs: both_losses(trainer, outputs), backend="eager", fullgraph=True)
    with torch.random.fork_rng():
        losses = compiled(batch)
    assert all(loss.requires_grad and loss.isfinite() for loss in losses)
