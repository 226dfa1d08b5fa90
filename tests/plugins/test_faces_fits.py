"""Fits of an f of attributes: what it learns of known and unknown labels, by itself and on a frozen recogniser."""

import pytest
import torch
import torch.nn.functional as F

from domtrans import Attribute, DomtransError, FrozenEncoder, ImageSet, Session, to_float, use
from domtrans_dtn.fits import HeadTargets, pseudo_label_loss
from domtrans_faces.vocabulary import VOCABULARY
from small_faces import SIZES, K, encoder, faces, probe, skin
from tiny import registry


def session():
    return Session.start("cpu", precision="float32")


def fitted(fit, *sets, **options):
    f = encoder(dropout=0.0)
    registry().build("fit", use(fit, steps=60, batch_size=16, lr=5e-3, **options))(f.train(), sets[0], session(), *sets[1:])
    return f.eval()


# f


@pytest.mark.parametrize("fit", ["classifier", "self-training"])
def test_f_learns_the_known_attributes_of_the_source(fit):
    """Unknown attributes leave the weights finite."""
    sets = [faces()] + ([faces(24).unlabelled()] if fit == "self-training" else [])
    f = fitted(fit, *sets)
    test = faces(24)
    assert (skin(f, test) == test.attributes["skin"].index).float().mean() > 0.9
    assert torch.isfinite(f.head.weight).all()


def test_a_source_without_the_attributes_of_f_is_refused():
    with pytest.raises(DomtransError, match=r"none of the attributes that f predicts \(skin, .*\); use a source"):
        fitted("classifier", faces().unlabelled())
    other = ImageSet(faces().images, attributes={"skin": Attribute(("green", "blue"), torch.zeros(48, dtype=torch.int64))})
    with pytest.raises(DomtransError, match="'skin' of f has the values light, medium, dark, but the source has green, blue"):
        fitted("classifier", other)


def test_missing_attributes_count_as_unknown():
    source = ImageSet(faces().images, attributes={"skin": faces().attributes["skin"]})
    some, all_ = (HeadTargets.of(images, encoder(), torch.device("cpu")) for images in (source, faces()))
    assert torch.equal(some.labels, all_.labels)
    assert (skin(fitted("classifier", source), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


# f on a frozen recogniser


@pytest.mark.parametrize("view", [None, {"name": "noise", "amount": 0.05}])
def test_a_probe_encodes_every_image_once_per_view(view):
    f = probe(backbone="colour-grid", dropout=0.0)
    batch_sizes = []
    f.kept[0].register_forward_hook(lambda module, images, found: batch_sizes.append(len(found)))
    fit = registry().build("fit", use("probe", steps=200, batch_size=16, lr=1e-2, looks=2 if view else 1, view=view))
    fit(f.train(), faces(), session())
    assert batch_sizes == [48] * (2 if view else 1)
    assert (skin(f.eval(), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_a_probe_weighs_rare_values(balance):
    """Images that are all the same leave only the frequencies to learn: three of four are light."""
    images = torch.full((64, 3, 32, 32), 100, dtype=torch.uint8)
    source = ImageSet(images, attributes={"skin": Attribute(VOCABULARY["skin"], (torch.arange(64) % 4 == 0).long())})
    f = probe(backbone="colour-grid", dropout=0.0)
    fit = registry().build("fit", use("probe", steps=200, batch_size=16, lr=3e-2, label_smoothing=0.0, balance=balance))
    fit(f.train(), source, session())
    with torch.no_grad():
        light, medium, _ = f.eval().logits(f(to_float(images[:1])))[0, :3].softmax(0).tolist()
    assert (light, medium) == (pytest.approx(0.5 if balance else 0.75, abs=0.1), pytest.approx(1 - light, abs=0.05))


def test_a_probe_fits_an_f_without_frozen_layers():
    f = encoder(dropout=0.0)
    registry().build("fit", use("probe", steps=60, batch_size=16, lr=5e-3))(f.train(), faces(), session())
    assert (skin(f.eval(), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


# Targets of the heads


def test_label_frequencies_ignore_unknown_labels():
    source = faces(10)
    source.attributes["skin"].index[:4] = torch.tensor([-1, -1, 0, 0])
    targets = HeadTargets.of(source, encoder(), torch.device("cpu"))
    index = source.attributes["skin"].index
    wanted = torch.stack([(index == k).sum() / (index >= 0).sum() for k in range(3)])
    equal = targets.equal_frequencies()
    assert torch.allclose(targets.label_frequencies()[:3], wanted) and torch.equal(targets.label_frequencies()[3:], equal[3:])
    assert torch.allclose(targets.equal_frequencies()[:5], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2]))


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_rare_values_count_more_in_a_balanced_loss(balance):
    """Cross-entropy, weighted by one over the frequency of the image's value to the power of ``balance``."""
    source = faces(10)
    known = source.attributes["skin"].index
    known[:] = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, -1])
    targets = HeadTargets.of(source, encoder(), torch.device("cpu"), balance)
    logits = torch.randn(10, K)
    weights = torch.tensor([9 / 6] * 6 + [9 / 2] * 2 + [9.0, 0.0]) ** balance
    losses = F.cross_entropy(logits[:, :3], known.clamp_min(0), reduction="none", label_smoothing=0.1)
    by_hand = (weights[:9] * losses[:9]).sum() / weights[:9].sum()
    assert torch.allclose(targets.loss(logits, torch.arange(10), 0.1), by_hand)


def test_only_confident_pseudo_labels_count():
    """Of two images, the teacher is confident of both heads for the first, and of the second head for the second."""
    logits = [torch.randn(2, 3), torch.randn(2, 2)]
    probabilities = [torch.tensor([[0.95, 0.03, 0.02], [0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.9], [1.0, 0.0]])]
    first = F.cross_entropy(logits[0][:1], torch.tensor([0])) / 2
    second = F.cross_entropy(logits[1], torch.tensor([1, 0]))
    assert torch.allclose(pseudo_label_loss(logits, probabilities, 0.9), (first + second) / 2)


def test_the_condition_of_d_has_one_value_per_attribute():
    f = FrozenEncoder(encoder())
    features = torch.randn(5, 8)
    condition = f.class_condition(features)
    logits = f.classify(features).split(SIZES, 1)
    assert f.classes() == K == condition.shape[1]
    for found, logit in zip(condition.split(SIZES, 1), logits, strict=True):
        assert torch.equal(found.argmax(1), logit.argmax(1)) and torch.equal(found.sum(1), torch.ones(5))
