"""The domain ``extended``: a domain with images of other domains added for training."""

import numpy as np
import pytest
import torch

from domtrans import Attribute, DomtransError, ImageSet, load_plugins, use
from domtrans.data.domains import load_domain
from domtrans.testing import check_domain
from tiny import registry, write_bars


@pytest.fixture
def bars(tmp_path):
    return use("arrays", path=write_bars(tmp_path / "bars.npz", 16), holdout=0.25)


@pytest.fixture
def faces():
    return use("portraits", count=6, test_count=4)


def load(split, of, *by, parts=None):
    return load_domain(parts or registry(), use("extended", of=of, by=list(by)), split, 32)


def test_the_contracts(bars, faces):
    check_domain(registry(), "extended", of=bars.model_dump(), by=[faces.model_dump()])


def test_images_of_all_domains_follow_in_the_channels_of_the_first(tmp_path, faces):
    np.savez(tmp_path / "grey.npz", images=np.arange(4 * 32 * 32, dtype=np.uint8).reshape(4, 32, 32))
    grey = use("arrays", path=str(tmp_path / "grey.npz"), holdout=0.25)
    one, other = (load_domain(registry(), part, "train", 32) for part in (grey, faces))
    for found, channels in ((load("train", grey, faces), 1), (load("train", faces, grey), 3)):
        assert found.shape == (9, channels, 32, 32) and found.labels is None
    assert torch.equal(found.images[:6], other.images) and found.about == f"{other.about} and {one.about}"
    assert torch.equal(found.images[6:], one.images.expand(-1, 3, -1, -1))


def test_an_attribute_is_unknown_where_a_domain_does_not_have_it(bars, faces):
    found = load("train", bars, faces)
    there = load_domain(registry(), faces, "train", 32).attributes["glasses"]
    assert found.attributes["glasses"].values == there.values
    assert found.attributes["glasses"].index.tolist() == [-1] * (len(found) - 6) + there.index.tolist()


def test_classes_with_the_same_name_are_merged_and_the_rest_are_others(bars, faces):
    one, found = load_domain(registry(), bars, "train", 32), load("train", bars, bars, faces)
    assert found.classes == (*one.classes, "others")
    assert found.labels.tolist() == one.labels.tolist() * 2 + [len(one.classes)] * 6


def test_the_test_split_is_the_domains_own(bars, faces):
    one, found = load_domain(registry(), bars, "test", 32), load("test", bars, faces)
    assert torch.equal(found.images, one.images) and found.labels.tolist() == one.labels.tolist()


def test_an_extended_domain_can_be_extended_again(bars, faces):
    inner = use("extended", of=bars, by=[faces])
    one, found = load_domain(registry(), bars, "train", 32), load("train", inner, faces)
    assert found.classes == load("test", inner, faces).classes == (*one.classes, "others")
    assert found.labels.tolist() == one.labels.tolist() + [len(one.classes)] * 12


def test_both_splits_show_the_channels_of_the_domain(tmp_path, faces):
    np.save(tmp_path / "bands.npy", np.zeros((8, 5, 32, 32), np.uint8))
    bands = use("arrays", path=str(tmp_path / "bands.npy"), channels=5, show_channels=[4, 2, 1], holdout=0.25)
    grey = use("arrays", path=write_bars(tmp_path / "grey.npz", channels=1), holdout=0.25)
    assert [load(split, bands, grey).shown for split in ("train", "test")] == [(3, 1, 0)] * 2
    with pytest.raises(DomtransError, match="images have 3 channels, where 5 are needed"):
        load("train", bands, faces)


def test_different_values_of_an_attribute_are_refused(faces):
    def hatted(split, size):
        shape = torch.zeros(2, 3, size, size, dtype=torch.uint8)
        return ImageSet(shape, attributes={"glasses": Attribute(("round", "square"), torch.tensor([0, 1]))})

    parts = load_plugins().registry  # one of its own: other tests share registry()
    parts.domain("hatted", hatted)
    with pytest.raises(DomtransError, match="'glasses' different values: no, yes and round, square"):
        load("train", faces, "hatted", parts=parts)
