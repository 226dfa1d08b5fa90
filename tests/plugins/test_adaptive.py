"""LeCam and augmentation of adaptive strength: their formulas, and their state in a training."""

import numpy as np
import pytest
import torch

from domtrans import DomtransError, Outputs, use
from domtrans.compute.distributed import SINGLE_PROCESS
from domtrans.testing import check_augmentation, check_loss
from domtrans.training.checkpoint import load_training_state, training_state
from domtrans.training.observers import Observers
from loss_formulas import LOGITS, RNG
from tiny import registry, tiny_recipe, tiny_trainer

KINDS = ("source_fake_logits", "target_fake_logits", "target_logits")
STATEFUL = {
    "discriminator_losses__lecam": {"name": "lecam", "weight": 0.1, "decay": 0.5},
    "discriminator_view": {"name": "adaptive", "initial": 0.5, "interval": 1, "ramp": 10},
}


def odds(logits):
    """log D_3 - log(D_1 + D_2)."""
    return logits[:, 2] - np.log(np.exp(logits[:, :2]).sum(1))


def outputs(logits):
    return Outputs(**{name: torch.tensor(value) for name, value in logits.items()})


def real(*log_odds):
    """D's logits of real images whose odds against the mean of the other two kinds are given."""
    return Outputs(target_logits=torch.tensor([[0.0, 0.0, value] for value in log_odds]))


# LeCam


def test_lecam_keeps_d_near_its_mean_answers():
    """The means are those of two batches, weighted equally at first."""
    loss = registry().build("loss", use("lecam", decay=0.9)).double()
    batches = [LOGITS, {name: RNG.normal(size=(5, 3)) for name in KINDS}]
    for batch in batches:
        loss.observe(outputs(batch))
    source, target, mean = (np.mean([odds(batch[name]).mean() for batch in batches]) for name in KINDS)
    fakes = {name: ((odds(LOGITS[name]) - mean) ** 2).mean() for name in KINDS[:2]}
    wanted = sum(fakes.values()) + sum(((odds(LOGITS["target_logits"]) - kind) ** 2).mean() for kind in (source, target))
    assert loss(outputs(LOGITS)).item() == pytest.approx(wanted, rel=1e-9)


def test_the_means_of_lecam_decay():
    loss = registry().build("loss", use("lecam", decay=0.5)).double()
    values = [odds(RNG.normal(size=(4, 3))) for _ in range(4)]
    wanted = values[0].mean()
    for number, value in enumerate(values):
        loss.observe(
            Outputs(target_logits=torch.tensor(value)[:, None] * torch.tensor([0, 0, 1.0]) + torch.tensor([0, -50.0, 0]))
        )
        decay = min(0.5, number / (number + 1))
        wanted = decay * wanted + (1 - decay) * value.mean()
    assert loss.means[2].item() == pytest.approx(wanted, rel=1e-9)


# Augmentation of adaptive strength


def test_the_strength_rises_while_d_is_sure_of_real_images_and_falls_else():
    """Every second update by 2 / 10; a mean sign of 0.5 is below the aim, and that of a D at chance is 0."""
    view = registry().build("augmentation", use("adaptive", interval=2, ramp=10, initial=0.5))
    steps = [real(1, 2, 3, 4)] * 4 + [real(1, 1, 1, -1)] * 2 + [real(0, 0, 0, 0)] * 2
    strengths = [view.observe(step)["strength"].item() for step in steps]
    assert strengths == pytest.approx([0.5, 0.7, 0.7, 0.9, 0.9, 0.7, 0.7, 0.5])
    for _ in range(4):
        view.observe(real(5, 5))
    view.observe(Outputs(source_fake_logits=torch.zeros(4, 3)))
    assert view.strength.item() == pytest.approx(0.9)
    for _ in range(4):
        view.observe(real(5, 5))
    assert view.strength.item() == 1


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_each_augmentation_changes_a_share_of_the_images(strength):
    view = registry().build("augmentation", use("adaptive", initial=strength, steps=[use("flip", chance=1.0)]))
    images = torch.rand(2000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    changed = (view(images, torch.Generator().manual_seed(1)) != images).any(3).any(2).any(1)
    assert changed.float().mean().item() == pytest.approx(strength, abs=0.03)


def test_they_keep_the_contracts_of_their_kinds():
    check_loss(registry(), "lecam")
    check_augmentation(registry(), "adaptive", initial=1.0)


@pytest.mark.parametrize("path", ["view", "source_augmentation", "discriminator_view"])
def test_an_adaptive_augmentation_is_refused_where_it_cannot_observe_d(tmp_path, path):
    part = {"name": "chain", "steps": ["adaptive"]} if path == "discriminator_view" else "adaptive"
    with pytest.raises(DomtransError, match=rf"^{path} holds an augmentation that adapts to D \(Adaptive\)"):
        tiny_trainer(tiny_recipe(tmp_path, **{path: part}))


# Their state


def test_the_state_is_saved_and_loaded(tmp_path):
    recipe = tiny_recipe(tmp_path, **STATEFUL)
    trainer, other = tiny_trainer(recipe), tiny_trainer(recipe)
    losses = trainer.step()
    assert losses["discriminator_view.strength"].item() == pytest.approx(0.6) or losses[
        "discriminator_view.strength"
    ].item() == pytest.approx(0.4)
    state = training_state(trainer)
    assert (state["discriminator_losses.lecam.means"] != 0).all()
    load_training_state(other, state)
    assert all(torch.equal(tensor, training_state(other)[name]) for name, tensor in state.items())
    later, again = trainer.step(), other.step()
    assert all(torch.equal(value, again[name]) for name, value in later.items())


def test_a_state_of_before_they_had_one_is_loaded(tmp_path):
    state = training_state(tiny_trainer(tiny_recipe(tmp_path)))
    trainer = tiny_trainer(tiny_recipe(tmp_path, **STATEFUL))
    load_training_state(trainer, state)
    assert trainer.observers.state()["discriminator_view.strength"].item() == 0.5


def test_micro_batches_give_the_state_of_their_batch(tmp_path):
    changes = STATEFUL | {"discriminator__norm": "none", "discriminator_view": None}
    states = []
    for parts in (1, 2):
        trainer = tiny_trainer(tiny_recipe(tmp_path, **changes, train__accumulate=parts))
        trainer.step()
        states.append(trainer.observers.state()["discriminator_losses.lecam.means"][2].item())
    assert states[0] == pytest.approx(states[1], rel=1e-4)


def test_several_processes_average_the_state(tmp_path):
    class TwoProcesses:
        """This process, and one whose buffers are all 1 higher."""

        size = 2

        def mean(self, tensors):
            return [tensor + 0.5 for tensor in tensors]

    experiment = tiny_trainer(tiny_recipe(tmp_path, **STATEFUL)).experiment
    alone, two = (Observers(experiment, torch.device("cpu"), group) for group in (SINGLE_PROCESS, TwoProcesses()))
    kept = {name: tensor.clone() for name, tensor in alone.state().items()}
    alone.observe(experiment.discriminator_losses, [outputs(LOGITS)])
    wanted = {name: tensor + 0.5 for name, tensor in alone.state().items()}
    alone.load_state(kept)
    two.observe(experiment.discriminator_losses, [outputs(LOGITS)])
    assert all(torch.allclose(tensor, two.state()[name]) for name, tensor in wanted.items())
