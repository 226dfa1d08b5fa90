"""The oracle loss, and the binary D of the paper's baseline."""

import numpy as np
import pytest
import torch

from domtrans import DomtransError, Outputs, override, to_float, use
from domtrans.data.domains import load_domain
from domtrans_digits.losses import DigitOracle
from domtrans_digits.networks.dtn import DigitEvaluator
from loss_formulas import LOGITS, log_loss, pick
from loss_formulas import loss as value_of
from tiny import registry, tiny_recipe, write_bars
from tiny_runs import go

SMALL = {"steps": 60, "batch_size": 16}


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    return {"name": "arrays", "path": write_bars(tmp_path_factory.mktemp("bars") / "bars.npz", 64, channels=1), "holdout": 0.25}


@pytest.fixture(scope="module")
def oracle(bars):
    return registry().build("loss", use("oracle-consistency", target=bars, **SMALL))


def test_the_oracle_classifies_bars_and_its_gradient_reaches_the_images(oracle, bars):
    images = load_domain(registry(), use(**bars), "test", 32)
    shown = to_float(images.images).requires_grad_()
    right = oracle(Outputs(source_fake=shown, source_labels=images.labels))
    wrong = oracle(Outputs(source_fake=shown, source_labels=(images.labels + 1) % 4))
    assert right < 0.7 < wrong
    wrong.backward()
    assert (shown.grad.abs().sum((1, 2, 3)) > 0).all()
    assert not any(weight.requires_grad or weight.grad is not None for weight in oracle.parameters())


def test_the_oracle_compares_classes_by_name(oracle, bars):
    images = load_domain(registry(), use(**bars), "test", 32)
    shown, labels = to_float(images.images), images.labels
    expected = oracle(Outputs(source_fake=shown, source_labels=labels))
    assert oracle(Outputs(source_fake=shown, source_labels=labels, source_classes=("0", "1", "2", "3"))) == expected
    turned = {"source_labels": 3 - labels, "source_classes": ("3", "2", "1", "0")}
    assert oracle(Outputs(source_fake=shown, **turned)) == expected
    with pytest.raises(DomtransError, match="the source has images of the classes 4, which the target of the loss"):
        oracle(Outputs(source_fake=shown, source_labels=labels, source_classes=("4", "0", "1", "2", "3")))


def test_the_oracle_differs_from_the_evaluator(oracle):
    assert isinstance(oracle.classifier, DigitOracle) and not isinstance(oracle.classifier, DigitEvaluator)
    shapes = [{tuple(weight.shape) for weight in network.parameters()} for network in (oracle.classifier, DigitEvaluator(1, 4))]
    assert not {shape for shape in shapes[0] & shapes[1] if len(shape) > 1}


def supervised(folder, bars):
    changes = {"generator_losses.const": "oracle-consistency", "generator_losses.const.target": bars}
    changes |= {f"generator_losses.const.{name}": value for name, value in SMALL.items()}
    return override(tiny_recipe(folder), changes, registry())


def test_a_recipe_with_the_oracle_is_refused_or_reported_as_supervised(tmp_path, bars):
    recipe = supervised(tmp_path, bars)
    with pytest.raises(DomtransError, match=r"generator_losses\.const holds the evaluator DigitOracle.*oracle=true"):
        go(recipe, tmp_path / "refused")
    run = go(override(recipe, {"oracle": True}, registry()), tmp_path / "run")
    assert run.results["supervision"] == "supervised: oracle"


def test_the_oracle_needs_a_labelled_target(tmp_path):
    path = write_bars(tmp_path / "bars.npz", labelled=False)
    with pytest.raises(DomtransError, match="needs a target with labels"):
        registry().build("loss", use("oracle-consistency", target=use("arrays", path=path)))


# The baseline's binary D


def test_d_is_binary_with_source_fakes_only():
    wanted = log_loss(LOGITS["source_fake_logits"], 0) + log_loss(LOGITS["target_logits"], 2)
    fields = pick(LOGITS, "source_fake_logits", "target_logits")
    assert value_of("ternary-discriminator", fields, fakes="source") == pytest.approx(wanted, rel=1e-12)
    found = value_of("ternary-generator", pick(LOGITS, "source_fake_logits"), fakes="source")
    assert found == pytest.approx(log_loss(LOGITS["source_fake_logits"], 2), rel=1e-12)


@pytest.mark.parametrize("name", ["ternary-discriminator", "ternary-generator"])
def test_target_fakes_are_then_ignored(name):
    loss = registry().build("loss", use(name, fakes="source"))
    assert "target_fake_logits" not in loss.reads
    fields = {key: torch.tensor(np.asarray(value)) for key, value in LOGITS.items()}
    changed = fields | {"target_fake_logits": fields["target_fake_logits"] + 5}
    assert loss(Outputs(**fields)) == loss(Outputs(**changed))
