"""A class-conditional D, and a const loss with sharpened predictions."""

import pytest
import torch
import torch.nn.functional as F

from domtrans import DomtransError, use
from domtrans.testing import check_discriminator
from tiny import registry, tiny_recipe, tiny_trainer

K = 4
"""Classes of the bars."""


@pytest.mark.parametrize("norm", ["spectral", "batch"])
def test_the_condition_of_each_image_is_what_f_predicts_for_its_x(tmp_path, norm):
    """In one pass, or one pass per kind of image if D has batch norm."""
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__classes=K, discriminator__norm=norm))
    conditions = []
    trainer.D.register_forward_hook(lambda _, inputs, __: conditions.append(inputs[1]))
    outputs = trainer.generate(trainer.load_micro_batch(("source", "target"), 0), with_graph=False)
    trainer.judge(outputs, "source_fake", "target_fake", "target")
    origins = (outputs.source_features, outputs.target_features, outputs.target_features)
    wanted = torch.cat([F.one_hot(trainer.f.classify(features).argmax(1), K) for features in origins])
    assert len(conditions) == (1 if norm == "spectral" else 3)
    assert torch.equal(torch.cat(conditions), wanted.float())


def test_the_logits_of_a_class_are_added_to_the_unconditional_ones():
    discriminator = registry().build("discriminator", use("digit-discriminator", classes=K, width=4), 1, 32).eval()
    images = torch.rand(1, 1, 32, 32).expand(K, -1, -1, -1) * 2 - 1
    layers = discriminator.layers(images[:1])
    assert torch.allclose(discriminator(images[:1]), layers[:, 0]), "without a condition, D gives the unconditional logits"
    assert torch.allclose(discriminator(images, torch.eye(K)), layers[0, 0] + layers[0, 1:], atol=1e-6)


def test_a_conditional_d_keeps_the_contracts_of_a_discriminator():
    check_discriminator(registry(), "digit-discriminator", classes=K, width=4)


def test_training_with_a_condition_updates_d_and_g(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__classes=K))
    before = [p.clone() for p in (*trainer.g.parameters(), *trainer.D.parameters())]
    losses = trainer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    assert not all(torch.equal(a, b) for a, b in zip(before, (*trainer.g.parameters(), *trainer.D.parameters()), strict=True))


def test_the_condition_needs_as_many_classes_as_f_has(tmp_path):
    with pytest.raises(DomtransError, match="is conditioned on 3 classes, but f's head has 4"):
        tiny_trainer(tiny_recipe(tmp_path, discriminator__classes=3))


@pytest.mark.parametrize(("changes", "classes"), [({}, K), ({"encoder": "colour-grid", "fit": None}, 0)])
def test_an_automatic_condition_has_the_classes_of_f(tmp_path, changes, classes):
    assert tiny_trainer(tiny_recipe(tmp_path, discriminator__classes="auto", **changes)).D.condition_classes == classes


def test_a_sharpened_const_loss_compares_with_sharper_predictions():
    """KL(softmax(s z_x) || softmax(z_G)), by hand."""
    wanted, found = torch.randn(2, 6, K, generator=torch.Generator().manual_seed(0))
    distance = registry().build("distance", use("cross-entropy", sharpen=3.0))
    p, q = (3 * wanted).softmax(1), found.softmax(1)
    by_hand = (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(distance(wanted, found, lambda features: features), by_hand)
