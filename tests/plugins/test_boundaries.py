"""The fits vada and dirt-t against formulas written by hand, and what they do to f's certainty."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from domtrans import DomtransError, Encoder, ImageSet, Session, use
from domtrans_dtn.boundaries import conditional_entropy, divergence, domain_loss, frozen_statistics, virtual_adversarial
from tiny import bars, registry, tiny_recipe, tiny_trainer


class Linear(Encoder):
    """Logits that are linear in the pixels, so that every derivative is known."""

    channels = 1

    def __init__(self, classes=3):
        super().__init__()
        self.feature_size, self.heads = classes, {"class": classes}
        self.weights = nn.Parameter(torch.randn(16, classes) / 4)

    def forward(self, images):
        return images.flatten(1) @ self.weights

    def logits(self, features):
        return features


def kl(p, q):
    return sum(float(a * (math.log(a) - math.log(b))) for a, b in zip(p, q, strict=True))


def test_entropy_and_divergence_are_means_over_images_and_heads():
    p, q = torch.randn(4, 5), torch.randn(4, 5)
    entropies, divergences = [], []
    for first, last in ((0, 2), (2, 5)):
        for a, b in zip(p[:, first:last].softmax(1), q[:, first:last].softmax(1), strict=True):
            entropies.append(-sum(float(each * each.log()) for each in a))
            divergences.append(kl(a, b))
    assert conditional_entropy(p, [2, 3]).item() == pytest.approx(sum(entropies) / 8, rel=1e-5)
    assert divergence(p, q, [2, 3]).item() == pytest.approx(sum(divergences) / 8, rel=1e-5)
    assert divergence(p, p, [2, 3]).item() == pytest.approx(0, abs=1e-6)


def test_virtual_adversarial_is_one_power_iteration():
    """At a random change d of length 1, the gradient of KL(p || softmax(z + dW)) is W (softmax(z + dW) - p)."""
    torch.manual_seed(0)
    f, images = Linear(), torch.randn(2, 1, 4, 4)
    found = virtual_adversarial(f, images, f(images), [3], 0.5, torch.Generator().manual_seed(3))
    d = torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    weights, expected = f.weights.detach(), []
    for x, change in zip(images.flatten(1), d.flatten(1), strict=True):
        p = (x @ weights).softmax(0)
        direction = weights @ (((x + change / change.norm()) @ weights).softmax(0) - p)
        r = 0.5 * direction / direction.norm()
        expected.append(kl(p, ((x + r) @ weights).softmax(0)))
    assert found.item() == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_the_change_harms_more_than_random_ones_and_only_f_gets_a_gradient():
    torch.manual_seed(1)
    f, images = Linear(), torch.randn(64, 1, 4, 4, requires_grad=True)
    loss = virtual_adversarial(f, images.detach(), f(images), [3], 0.5, torch.Generator().manual_seed(0))
    loss.backward()
    assert f.weights.grad is not None and images.grad is None
    random = torch.randn_like(images)
    random = 0.5 * random / random.flatten(1).norm(dim=1)[:, None, None, None]
    assert loss > 2 * divergence(f(images), f(images + random), [3])


def test_batch_norm_does_not_see_changed_images():
    network = nn.Sequential(nn.BatchNorm2d(1)).train()
    with frozen_statistics(network):
        network(torch.randn(4, 1, 2, 2) + 5)
    assert network[0].running_mean.item() == 0 and network[0].momentum == 0.1


def test_f_learns_the_opposite_of_the_domain_classifier():
    classifier = nn.Linear(3, 1)
    source, target = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    loss = domain_loss(classifier, source, target)
    loss.backward()
    answers, wanted = classifier(torch.cat([source, target])), torch.cat([torch.zeros(4, 1), torch.ones(4, 1)])
    expected = binary_cross_entropy_with_logits(answers, wanted)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    plain = torch.autograd.grad(expected, [source, classifier.weight])
    torch.testing.assert_close(source.grad, -plain[0])
    torch.testing.assert_close(classifier.weight.grad, plain[1])


def certainty(f, images):
    with torch.no_grad():
        return conditional_entropy(f.logits(f(images.images / 127.5 - 1)).float(), [4]).item()


def test_dirt_t_makes_f_certain_of_target_images_and_keeps_its_classes():
    images, labels = bars(48)
    source, target = ImageSet.from_arrays(images, labels, size=32), ImageSet.from_arrays(bars(24, seed=1)[0], size=32)
    session = Session.start("cpu", precision="float32")
    torch.manual_seed(0)
    f = registry().build("encoder", use("digit-encoder"), 32, 4)
    registry().build("fit", use("classifier", steps=30, batch_size=12))(f, source, session)
    before, wanted = certainty(f, target), one_hot(torch.arange(24) % 4)
    registry().build("fit", use("dirt-t", steps=8, batch_size=12, decay=0.9))(f, source, session, target)
    assert certainty(f, target) < before
    assert (f.logits(f(target.images / 127.5 - 1)).argmax(1) == wanted.argmax(1)).float().mean() > 0.9


def test_dirt_t_needs_heads():
    images = ImageSet.from_arrays(bars(8)[0], size=32)
    f = registry().build("encoder", use("digit-encoder"), 32, 0)
    with pytest.raises(DomtransError, match="no classification head"):
        registry().build("fit", use("dirt-t", steps=1))(f, images, Session.start("cpu", precision="float32"), images)


def test_dirt_t_refuses_an_f_that_is_not_fitted(tmp_path):
    with pytest.raises(DomtransError, match="write it as adapt=dirt-t, after a fit"):
        tiny_trainer(tiny_recipe(tmp_path, fit={"name": "dirt-t", "steps": 1, "batch_size": 4}))


def test_both_follow_one_another_in_a_recipe(tmp_path):
    changes = {"adapt": {"name": "dirt-t", "steps": 2, "batch_size": 4}}
    recipe = tiny_recipe(tmp_path, fit={"name": "vada", "steps": 2, "batch_size": 4, "smooth_source": 1.0}, **changes)
    weights = [tiny_trainer(recipe).f.encoder.state_dict() for _ in range(2)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
