"""The shipped fits lower the loss of f, need the labels of the source, and use no labels of the target."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from domtrans import DomtransError, ImageSet, Session, use
from domtrans.registry.parts import positional_parameters
from tiny import bars, registry, tiny_recipe, tiny_trainer, write_bars

FITS = [name for name in registry().names("fit") if name != "each"]  # which consists of others: test_encoders_ensemble.py
EVERY_FIT = pytest.mark.parametrize("name", FITS)
WITH_LABELS = pytest.mark.parametrize("name", [name for name in FITS if name not in ("self-supervised", "dirt-t")])


def fit(name, f, source, target, **options):
    arguments = (source, Session.start("cpu", precision="float32"), target)
    count = len(positional_parameters(registry().get("fit", name).factory)) - 1
    registry().build("fit", use(name, **options))(f, *arguments[:count])


@WITH_LABELS
def test_a_fit_lowers_the_loss_of_f(name):
    images, labels = bars(48)
    source = ImageSet.from_arrays(images, labels, size=32)
    target = ImageSet.from_arrays(bars(16, channels=1, seed=1)[0], size=32)
    torch.manual_seed(0)
    f = registry().build("encoder", use("digit-encoder"), 32, 4)

    def loss():
        with torch.no_grad():
            return cross_entropy(f.logits(f(source.images / 127.5 - 1)), source.labels).item()

    before = loss()
    fit(name, f, source, target, steps=40, batch_size=16)
    assert loss() < 0.5 * before


@WITH_LABELS
def test_a_fit_needs_source_labels(name):
    unlabelled = ImageSet.from_arrays(bars(8)[0], size=32)
    with pytest.raises(DomtransError, match="source labels"):
        fit(name, registry().build("encoder", use("digit-encoder"), 32, 0), unlabelled, unlabelled, steps=1)


@EVERY_FIT
def test_target_labels_do_not_change_f(name, tmp_path, monkeypatch):
    weights = []
    for labelled in (True, False):
        monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / f"cache-{labelled}"))
        stage = {"fit": "classifier", "adapt": name} if name == "dirt-t" else {"fit": name}
        steps = {f"{kind}__{option}": value for kind in stage for option, value in (("steps", 3), ("batch_size", 4))}
        recipe = tiny_recipe(tmp_path, **stage, **steps)
        write_bars(tmp_path / "target.npz", channels=1, seed=1, labelled=labelled)
        weights.append(tiny_trainer(recipe).f.encoder.state_dict())
    assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())


def test_the_trainer_has_no_target_labels(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    assert trainer.target.labels is None and trainer.source.labels is not None
