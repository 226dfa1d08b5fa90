"""The domain ``subset``, and options that are domains."""

import pytest
import torch

from domtrans import DomtransError, override, use
from domtrans.data.domains import load_domain
from tiny import registry, tiny_recipe, write_bars


@pytest.fixture
def bars(tmp_path):
    return use("arrays", path=write_bars(tmp_path / "bars.npz", 16), holdout=0.25)


def load(split, of, **options):
    return load_domain(registry(), use("subset", of=of, **options), split, 32)


def test_a_class_is_left_out_of_training_and_keeps_its_label(bars):
    whole, part = load("train", bars), load("train", bars, without=["1", "3"])
    assert set(whole.labels.tolist()) == {0, 1, 2, 3} and set(part.labels.tolist()) == {0, 2}
    assert part.classes == whole.classes == ("0", "1", "2", "3") and part.about.endswith("without 1, 3")
    assert torch.equal(part.images, whole.images[(whole.labels == 0) | (whole.labels == 2)])
    assert load("test", bars, without=["1"]).fingerprint() == load_domain(registry(), bars, "test", 32).fingerprint()


def test_fewer_images_are_spread_evenly(bars):
    whole = load("train", bars)
    part = load("train", bars, count=4)
    assert len(part) == 4 and part.about.endswith("4 of them") and torch.equal(part.images, whole.images[::3])
    assert load("train", bars, count=100).fingerprint() == whole.fingerprint()


def test_both_splits_can_come_from_one_split(bars):
    splits = {split: load_domain(registry(), bars, split, 32).fingerprint() for split in ("train", "test")}
    for wanted, fingerprint in splits.items():
        for asked in splits:
            assert load(asked, bars, drawn_from=wanted).fingerprint() == fingerprint


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"without": ["7"]}, r"'7' in without is not a class of arrays .* \(classes: 0, 1, 2, 3\)"),
        ({"without": list("0123")}, "no images of arrays .* are left without 0, 1, 2, 3"),
        ({"count": 0}, "option 'count'"),
    ],
)
def test_impossible_options_are_refused(bars, options, fault):
    with pytest.raises(DomtransError, match=fault):
        load("train", bars, **options)


def test_unlabelled_images_have_no_classes_to_leave_out(tmp_path):
    with pytest.raises(DomtransError, match="it has no labels"):
        load("train", use("arrays", path=write_bars(tmp_path / "b.npz", labelled=False)), without=["1"])


def test_options_of_the_inner_domain_are_set_by_path(tmp_path):
    recipe = override(
        tiny_recipe(tmp_path), ["source=subset", "source.of=arrays", f"source.of.path={tmp_path / 'source.npz'}"], registry()
    )
    assert recipe.source.options["of"]["holdout"] == 0.125  # resolved: every option of the inner domain is written out
    assert load_domain(registry(), recipe.source, "train", 32).channels == 3
