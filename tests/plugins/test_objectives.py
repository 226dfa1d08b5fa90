"""Adversarial objectives against their formulas in NumPy, in float64, and in training."""

import threading

import numpy as np
import pytest
import torch

from domtrans import DomtransError, Outputs, Stopped, use
from domtrans.testing import check_augmentation, check_loss
from loss_formulas import LOGITS, loss, pick
from tiny import registry, tiny_recipe, tiny_trainer
from tiny_runs import go, stop_at, unlike

KINDS = {"source_fake_logits": 0, "target_fake_logits": 1, "target_logits": 2}
FAKES = ("source_fake_logits", "target_fake_logits")
OBJECTIVES = ["least-squares", "hinge", "relativistic"]


def odds(logits):
    """log D_3 - log(D_1 + D_2)."""
    return logits[:, 2] - np.log(np.exp(logits[:, 0]) + np.exp(logits[:, 1]))


def softplus(x):
    return np.log1p(np.exp(x)).mean()


def test_least_squares():
    wanted = sum(((LOGITS[name] - np.eye(3)[kind]) ** 2).sum(1).mean() / 2 for name, kind in KINDS.items())
    assert loss("least-squares-discriminator", LOGITS) == pytest.approx(wanted, rel=1e-12)
    wanted = sum(((LOGITS[name][:, 2] - 1) ** 2).mean() / 2 for name in FAKES)
    assert loss("least-squares-generator", pick(LOGITS, *FAKES)) == pytest.approx(wanted, rel=1e-12)


def test_hinge():
    margins = {name: np.where(np.arange(3) == kind, 1, -1) * LOGITS[name] for name, kind in KINDS.items()}
    wanted = sum(np.maximum(0, 1 - margin).sum(1).mean() for margin in margins.values())
    assert loss("hinge-discriminator", LOGITS) == pytest.approx(wanted, rel=1e-12)
    wanted = -sum(LOGITS[name][:, 2].mean() for name in FAKES)
    assert loss("hinge-generator", pick(LOGITS, *FAKES)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("kinds", [0.0, 0.5])
def test_relativistic(kinds):
    real = odds(LOGITS["target_logits"])
    between = {name: LOGITS[name][:, :2] - np.log(np.exp(LOGITS[name][:, :2]).sum(1, keepdims=True)) for name in FAKES}
    wanted = sum(softplus(odds(LOGITS[name]) - real) - kinds * between[name][:, KINDS[name]].mean() for name in FAKES)
    assert loss("relativistic-discriminator", LOGITS, kinds=kinds) == pytest.approx(wanted, rel=1e-12)
    wanted = sum(softplus(real - odds(LOGITS[name])) for name in FAKES)
    assert loss("relativistic-generator", LOGITS) == pytest.approx(wanted, rel=1e-12)


def test_a_relativistic_loss_needs_both_domains_in_an_update(tmp_path):
    terms = {f"{side}_losses__gan": f"relativistic-{side}" for side in ("generator", "discriminator")}
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__updates="separate", **terms))
    with pytest.raises(DomtransError, match=r"set train\.updates=joint"):
        trainer.step()


@pytest.mark.parametrize(("images", "fields"), [("real", ("target",)), ("generated", ("source_fake", "target_fake"))])
def test_the_gradient_penalty_of_a_linear_d(images, fields):
    """For logits x W, the gradient of log D_3 - log(D_1 + D_2) is W_3 - (p_1 W_1 + p_2 W_2) / (p_1 + p_2)."""
    rng = torch.Generator().manual_seed(0)
    weights = torch.randn(12, 3, generator=rng, dtype=torch.float64)
    batches = {name: torch.randn(5, 3, 2, 2, generator=rng, dtype=torch.float64) for name in fields}
    built = registry().build("loss", use("gradient-penalty", images=images))
    found = built(Outputs(**batches, discriminate=lambda x, _: x.flatten(1) @ weights))
    wanted = 0.0
    for batch in batches.values():
        shares = np.exp((batch.flatten(1) @ weights).numpy())[:, :2]
        shares /= shares.sum(1, keepdims=True)
        gradient = weights[:, 2].numpy() - shares @ weights[:, :2].numpy().T
        wanted += (gradient**2).sum(1).mean() / 2
    assert found.item() == pytest.approx(wanted, rel=1e-6)  # the squares are summed in float32


def test_the_gradient_penalty_trains_d_only(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, generator_losses__r1="gradient-penalty"))
    with pytest.raises(DomtransError, match="move it from generator_losses to discriminator_losses"):
        trainer.step()


@pytest.mark.parametrize("name", [f"{name}-{side}" for name in OBJECTIVES for side in ("generator", "discriminator")])
def test_objectives_keep_the_contracts_of_losses(name):
    check_loss(registry(), name)


def test_the_gradient_penalty_keeps_the_contracts_of_losses():
    check_loss(registry(), "gradient-penalty")
    check_loss(registry(), "gradient-penalty", images="generated")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_trains(tmp_path, name):
    terms = {f"{side}_losses__gan": f"{name}-{side}" for side in ("generator", "discriminator")}
    trainer = tiny_trainer(tiny_recipe(tmp_path, **terms))
    losses = trainer.step() | trainer.step()
    assert all(torch.isfinite(value) for value in losses.values())


PENALTIES = {"discriminator_losses__r1": "gradient-penalty"} | {
    "discriminator_losses__r2": {"name": "gradient-penalty", "images": "generated", "weight": 0.5}
}


@pytest.mark.parametrize(
    "changes",
    [
        {"train__precision": "bf16"},
        {"train__precision": "float32", "base": "digits-dtn"},
        {"train__accumulate": 2},
        {"train__updates": "separate"},
        {"discriminator__norm": "batch"},
        {"discriminator_view": "diff-augment"},
    ],
)
def test_penalties_train_with_every_option(tmp_path, changes):
    base = changes.get("base", "digits-dtn-paper")
    changes = {name: value for name, value in changes.items() if name != "base"}
    trainer = tiny_trainer(tiny_recipe(tmp_path, base, **PENALTIES, **changes))
    trainer.step_number = 2
    before = [parameter.clone() for parameter in trainer.D.parameters()]
    losses = trainer.step()
    assert losses["discriminator.r1"] > 0 and losses["discriminator.r2"] > 0
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.D.parameters(), strict=True))


def test_micro_batches_have_the_penalty_of_their_batch(tmp_path):
    """R1; the fakes of R2 depend on the batch statistics of g."""
    changes = PENALTIES | {"discriminator__norm": "none"}
    losses = [tiny_trainer(tiny_recipe(tmp_path, **changes, train__accumulate=parts)).step() for parts in (1, 2)]
    assert losses[0]["discriminator.r1"].item() == pytest.approx(losses[1]["discriminator.r1"].item(), rel=1e-4)


def test_bf16_penalties_are_near_those_in_float32(tmp_path):
    losses = [tiny_trainer(tiny_recipe(tmp_path, **PENALTIES, train__precision=name)).step() for name in ("bf16", "float32")]
    for name in ("discriminator.r1", "discriminator.r2"):
        assert losses[0][name].item() == pytest.approx(losses[1][name].item(), rel=0.1)


# DiffAugment


def test_diff_augment_keeps_the_contracts_of_augmentations():
    for policy in ("colour", "translation", "cutout"):
        check_augmentation(registry(), "diff-augment", policy=[policy])


def test_a_translation_shifts_whole_pixels():
    """A single bright pixel moves by at most an eighth of the side, or leaves the image; nothing else changes."""
    augment = registry().build("augmentation", use("diff-augment", policy=["translation"]))
    images = torch.zeros(200, 1, 16, 16)
    images[:, :, 8, 8] = 1.0
    moved = augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(moved.flatten(1).sort(1).values, images.flatten(1).sort(1).values)
    rows, columns = moved.flatten(1).argmax(1) // 16, moved.flatten(1).argmax(1) % 16
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [6, 7, 8, 9, 10]


def test_a_cutout_is_a_square():
    augment = registry().build("augmentation", use("diff-augment", policy=["cutout"], cut=0.25))
    cut = (augment(torch.ones(200, 1, 16, 16), torch.Generator().manual_seed(0)) == 0).squeeze(1)
    heights, widths = cut.any(2).sum(1), cut.any(1).sum(1)
    assert torch.equal(cut.sum((1, 2)), heights * widths)
    assert max(heights.tolist()) == max(widths.tolist()) == 5


def test_a_run_with_regularisers_of_d_resumes_bit_for_bit(tmp_path):
    adaptive = {"discriminator_losses__lecam": "lecam", "discriminator_view": {"name": "adaptive", "interval": 1, "ramp": 4}}
    recipe = tiny_recipe(tmp_path, **PENALTIES, **adaptive)
    stop = threading.Event()
    with pytest.raises(Stopped):
        go(recipe, tmp_path / "parts", listeners=(stop_at(2, stop),), stop=stop)
    assert not unlike(go(recipe, tmp_path / "whole"), go(recipe, tmp_path / "parts"))
