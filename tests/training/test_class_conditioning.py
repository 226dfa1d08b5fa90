"""A D that is told what f takes each x for, and a const loss that is told it sharply."""

import pytest
import torch
import torch.nn.functional as F

from domtrans import DomtransError, use
from domtrans.testing import check_discriminator
from tiny import registry, tiny_recipe, tiny_trainer

K = 4
"""Classes of the bars."""


@pytest.mark.parametrize("norm", ["spectral", "batch"])
def test_d_is_told_of_every_image_what_f_sees_in_its_x(tmp_path, norm):
    """Together in one pass, or kind by kind where D has batch norm."""
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__classes=K, discriminator__norm=norm))
    told = []
    trainer.D.register_forward_hook(lambda _, inputs, __: told.append(inputs[1]))
    seen = trainer.generate(trainer.load_micro_batch(("source", "target"), 0), with_graph=False)
    trainer.judge(seen, "source_fake", "target_fake", "target")
    origins = (seen.source_features, seen.target_features, seen.target_features)
    wanted = torch.cat([F.one_hot(trainer.f.classify(features).argmax(1), K) for features in origins])
    assert len(told) == (1 if norm == "spectral" else 3)
    assert torch.equal(torch.cat(told), wanted.float())


def test_the_logits_of_a_class_are_those_of_anyone_and_its_own():
    judge = registry().build("discriminator", use("digit-discriminator", classes=K, width=4), 1, 32).eval()
    images = torch.rand(1, 1, 32, 32).expand(K, -1, -1, -1) * 2 - 1
    layers = judge.layers(images[:1])
    assert torch.allclose(judge(images[:1]), layers[:, 0]), "untold, D says what holds for anyone"
    assert torch.allclose(judge(images, torch.eye(K)), layers[0, 0] + layers[0, 1:], atol=1e-6)


def test_it_keeps_the_contracts_of_a_discriminator():
    check_discriminator(registry(), "digit-discriminator", classes=K, width=4)


def test_training_with_it_moves_d_and_g(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__classes=K))
    before = [p.clone() for p in (*trainer.g.parameters(), *trainer.D.parameters())]
    losses = trainer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    assert not all(torch.equal(a, b) for a, b in zip(before, (*trainer.g.parameters(), *trainer.D.parameters()), strict=True))


def test_as_many_classes_as_f_s_head_has(tmp_path):
    with pytest.raises(DomtransError, match="is conditioned on 3 classes, but f's head has 4"):
        tiny_trainer(tiny_recipe(tmp_path, discriminator__classes=3))


def test_a_sharpened_const_compares_with_what_f_takes_x_for():
    """KL(softmax(s z_x) || softmax(z_G)), as written out by hand."""
    wanted, found = torch.randn(2, 6, K, generator=torch.Generator().manual_seed(0))
    distance = registry().build("distance", use("cross-entropy", sharpen=3.0))
    p, q = (3 * wanted).softmax(1), found.softmax(1)
    by_hand = (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(distance(wanted, found, lambda features: features), by_hand)
