"""Every loss against its formula in NumPy, in float64."""

import numpy as np
import pytest
import torch

from domtrans import Discriminator, DomtransError, Outputs, use
from loss_formulas import LOGITS, RNG, by_hand_cosine, log_loss, loss, pick
from tiny import registry

FEATURES = {
    name: RNG.normal(size=(4, 6))
    for name in ("source_features", "source_fake_features", "target_features", "target_fake_features")
}
IMAGES = {name: RNG.uniform(-1, 1, size=(4, 3, 7, 5)) for name in ("source_fake", "target_fake", "target")}


def test_the_classes_of_d_are_in_the_papers_order():
    assert (Discriminator.FAKE_SOURCE, Discriminator.FAKE_TARGET, Discriminator.REAL_TARGET) == (0, 1, 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ternary_discriminator(smoothing):
    kinds = {"source_fake_logits": 0, "target_fake_logits": 1, "target_logits": 2}
    wanted = sum(log_loss(LOGITS[name], kind, smoothing) for name, kind in kinds.items())
    assert loss("ternary-discriminator", LOGITS, label_smoothing=smoothing) == pytest.approx(wanted, rel=1e-12)


def test_ternary_discriminator_with_source_images_only():
    found = loss("ternary-discriminator", pick(LOGITS, "source_fake_logits"))
    assert found == pytest.approx(log_loss(LOGITS["source_fake_logits"], 0), rel=1e-12)


def test_ternary_discriminator_with_target_images_only():
    found = loss("ternary-discriminator", pick(LOGITS, "target_fake_logits", "target_logits"))
    wanted = log_loss(LOGITS["target_fake_logits"], 1) + log_loss(LOGITS["target_logits"], 2)
    assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    "names", [("source_fake_logits", "target_fake_logits"), ("source_fake_logits",), ("target_fake_logits",)]
)
def test_ternary_generator_is_the_log_loss_of_real_for_fakes(names):
    wanted = sum(log_loss(LOGITS[name], 2) for name in names)
    assert loss("ternary-generator", pick(LOGITS, *names)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("of", ["source", "target"])
@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_feature_consistency(of, distance):
    pair = pick(FEATURES, f"{of}_features", f"{of}_fake_features")
    a, b = pair.values()
    wanted = {"mse": ((a - b) ** 2).mean(), "cosine": by_hand_cosine(a, b)}[distance]
    assert loss("feature-consistency", pair, distance=distance, of=of) == pytest.approx(wanted, rel=1e-9)


def test_feature_consistency_uses_the_source_by_default():
    built = registry().build("loss", use("feature-consistency"))
    assert built.reads == {"source_features", "source_fake_features", "classify"}


@pytest.mark.parametrize("of", ["source", "target"])
def test_feature_consistency_of_aligned_features(of):
    """Features of target images, of which G(x) is one, are aligned; those of source images are not."""
    a, b = (torch.tensor(FEATURES[name]) for name in (f"{of}_features", f"{of}_fake_features"))
    built = registry().build("loss", use("feature-consistency", of=of, aligned=True))
    outputs = {f"{of}_features": a, f"{of}_fake_features": b}
    found = built(Outputs(**outputs, align=lambda features: 2 * features - 3))
    wanted = ((2 * a - 3 if of == "target" else a) - (2 * b - 3)).square().mean()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-10)
    with pytest.raises(DomtransError, match="aligned=true, and the recipe has align_features=false"):
        built(Outputs(**outputs))


def test_feature_consistency_with_weighted_distances():
    pair = pick(FEATURES, "source_features", "source_fake_features")
    a, b = pair.values()
    options = {"name": "weighted", "terms": ["mse", "cosine"], "weights": [2, 0.25]}
    wanted = 2 * ((a - b) ** 2).mean() + 0.25 * by_hand_cosine(a, b)
    assert loss("feature-consistency", pair, distance=options) == pytest.approx(wanted, rel=1e-9)


def test_feature_consistency_with_the_head_of_f():
    weights = torch.tensor(RNG.normal(size=(6, 3)))
    a, b = (torch.tensor(FEATURES[name]) for name in ("source_features", "source_fake_features"))
    built = registry().build("loss", use("feature-consistency", distance="cross-entropy"))
    found = built(Outputs(source_features=a, source_fake_features=b, classify=lambda features: features @ weights))
    p, q = ((features @ weights).softmax(1) for features in (a, b))
    assert found.item() == pytest.approx((p * (p.log() - q.log())).sum(1).mean().item(), rel=1e-10)


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_target_identity(distance):
    pair = pick(IMAGES, "target", "target_fake")
    a, b = pair.values()
    wanted = {"mse": ((a - b) ** 2).mean(), "cosine": by_hand_cosine(a, b)}[distance]
    assert loss("target-identity", pair, distance=distance) == pytest.approx(wanted, rel=1e-9)


def test_target_identity_refuses_cross_entropy():
    with pytest.raises(DomtransError, match="cannot compare images"):
        loss("target-identity", pick(IMAGES, "target", "target_fake"), distance="cross-entropy")


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("names", [("source_fake", "target_fake"), ("source_fake",), ("target_fake",)])
def test_total_variation_in_the_papers_form(exponent, names):
    z = np.concatenate([IMAGES[name] for name in names])
    wanted = 0.0
    for image in z:
        for plane in image:
            for i in range(plane.shape[0] - 1):
                for j in range(plane.shape[1] - 1):
                    across, down = plane[i, j + 1] - plane[i, j], plane[i + 1, j] - plane[i, j]
                    wanted += (across**2 + down**2) ** (exponent / 2)
    found = loss("total-variation", pick(IMAGES, *names), exponent=exponent, epsilon=1e-14)
    assert found == pytest.approx(wanted / len(z), rel=1e-3 if exponent < 1 else 1e-6)


def test_total_variation_subtracts_epsilon_again():
    z, epsilon = IMAGES["source_fake"], 0.01
    square = (z[..., :-1, 1:] - z[..., :-1, :-1]) ** 2 + (z[..., 1:, :-1] - z[..., :-1, :-1]) ** 2
    wanted = (np.sqrt(square + epsilon) - np.sqrt(epsilon)).sum() / len(z)
    assert loss("total-variation", {"source_fake": z}, epsilon=epsilon) == pytest.approx(wanted, rel=1e-12)


def test_total_variation_as_absolute_differences():
    z = np.concatenate([IMAGES["source_fake"], IMAGES["target_fake"]])
    wanted = (np.abs(np.diff(z, axis=2)).sum() + np.abs(np.diff(z, axis=3)).sum()) / len(z)
    found = loss("total-variation", pick(IMAGES, "source_fake", "target_fake"), form="absolute")
    assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"exponent": 0.5}, {"exponent": 2.0}, {"form": "absolute"}])
def test_a_flat_image_costs_nothing_and_has_a_finite_gradient(options):
    flat = torch.full((2, 1, 8, 8), 0.3, requires_grad=True)
    found = registry().build("loss", use("total-variation", **options))(Outputs(source_fake=flat))
    found.backward()
    assert found.item() == 0
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("kind", ["ternary-discriminator", "ternary-generator"])
def test_confident_logits_stay_finite(kind):
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    found = registry().build("loss", use(kind))(Outputs(source_fake_logits=logits))
    found.backward()
    assert torch.isfinite(found) and torch.isfinite(logits.grad).all()
