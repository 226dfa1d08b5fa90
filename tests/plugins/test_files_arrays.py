"""The domain ``arrays``: names of arrays, forms of labels, and splits that keep all classes."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as any_array

from domtrans import DomtransError, use
from domtrans.data.domains import load_domain
from tiny import registry

SPLITS = ("train", "test")


def images(count, first=0):
    """Images whose value is their number."""
    return np.arange(first, first + count, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)


def load(path, split="train", **options):
    return load_domain(registry(), use("arrays", path=str(path), **options), split, 4)


def numbers(found):
    return found.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(("images_key", "labels_key"), [("images", "labels"), ("x", "y"), ("X", "Y"), ("data", "targets")])
def test_arrays_have_usual_names(tmp_path, images_key, labels_key):
    np.savez(tmp_path / "a.npz", **{images_key: images(4), labels_key: np.array([1, 0, 1, 0])})
    found = load(tmp_path / "a.npz", holdout=0)
    assert numbers(found) == [0, 1, 2, 3] and found.labels.tolist() == [1, 0, 1, 0] and found.notes == ()


def test_arrays_without_names_are_found_by_their_shape(tmp_path):
    np.savez(tmp_path / "a.npz", images(4), np.array([0, 1, 0, 1]))
    assert load(tmp_path / "a.npz", holdout=0).labels.tolist() == [0, 1, 0, 1]
    np.savez(tmp_path / "b.npz", faces=images(4))
    assert load(tmp_path / "b.npz", holdout=0).labels is None


def test_an_npy_file_has_images_without_labels(tmp_path):
    np.save(tmp_path / "a.npy", images(8))
    assert numbers(load(tmp_path / "a.npy")) == list(range(7)) and numbers(load(tmp_path / "a.npy", "test")) == [7]


@pytest.mark.parametrize("names", ["x_{}", "{}_images", "X{}", "images_{}"])
def test_arrays_of_splits_are_the_splits(tmp_path, names):
    labels = names.replace("images", "labels").replace("x", "y").replace("X", "y")
    content = {}
    for split, first in zip(SPLITS, (0, 6), strict=True):
        content |= {names.format(split): images(4, first), labels.format(split): np.arange(first % 2, first % 2 + 4)}
    np.savez(tmp_path / "a.npz", **content)
    train, test = (load(tmp_path / "a.npz", split) for split in SPLITS)
    assert numbers(train) == [0, 1, 2, 3] and numbers(test) == [6, 7, 8, 9] and train.classes == test.classes


def test_one_array_of_labels_is_refused_for_arrays_of_splits(tmp_path):
    content = {"x_train": images(4), "x_test": images(4, 6), "ages": np.array([1, 2, 3, 4])}
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(DomtransError, match="labels=ages cannot name the labels of all; leave it out"):
        load(tmp_path / "a.npz", labels="ages")
    assert load(tmp_path / "a.npz", images="x_train", labels="ages", holdout=0).labels.tolist() == [0, 1, 2, 3]


def test_validation_arrays_are_the_test_split_only_without_one(tmp_path):
    np.savez(tmp_path / "a.npz", train_images=images(4), val_images=images(2, 4))
    assert numbers(load(tmp_path / "a.npz", "test")) == [4, 5]
    np.savez(tmp_path / "b.npz", train_images=images(4), val_images=images(2, 4), test_images=images(2, 6))
    assert numbers(load(tmp_path / "b.npz", "test")) == [6, 7]
    assert load(tmp_path / "b.npz").notes == ("arrays of b.npz that are not read: val_images",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"images": images(2), "x": images(2)}, r"several arrays of images \(images, x\): choose one with images=KEY"),
        (
            {"images": images(2), "y": [0, 1], "label": [0, 1]},
            r"several arrays of labels \(y, label\): choose one with labels=KEY",
        ),
        ({"a": images(2), "b": images(2)}, "array 'images', but it has a, b; name one with images=KEY"),
        ({"labels": [0, 1]}, "array 'images'"),
        ({}, "it is empty"),
        ({"x_train": images(2), "x_test": images(2)[:, :2]}, "splits of different shapes"),
        ({"x_train": images(2), "x_test": images(2), "y_train": [0, 1]}, "labels for one split only"),
    ],
)
def test_unclear_arrays_are_refused_with_their_names(tmp_path, content, problem):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(DomtransError, match=problem):
        load(tmp_path / "a.npz")


def test_the_arrays_can_be_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=images(2), other=images(2, 5), who=["b", "a"])
    found = load(tmp_path / "a.npz", images="other", labels="who", holdout=0)
    assert numbers(found) == [5, 6] and found.classes == ("a", "b") and found.labels.tolist() == [1, 0]
    with pytest.raises(DomtransError, match="has no array 'what'; it has images, other, who"):
        load(tmp_path / "a.npz", labels="what")


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (np.arange(1, 11), tuple(map(str, range(1, 11))), list(range(10))),
        (np.arange(10)[:, None], tuple(map(str, range(10))), list(range(10))),
        (np.arange(10)[None], tuple(map(str, range(10))), list(range(10))),
        (np.arange(10.0), tuple(map(str, range(10))), list(range(10))),
        (np.arange(10) > 4, ("0", "1"), [0] * 5 + [1] * 5),
        (np.array(["dog", "cat"] * 5), ("cat", "dog"), [1, 0] * 5),
        (np.array([b"10", b"9"] * 5), ("9", "10"), [1, 0] * 5),
        (np.array([0, 3] * 5, dtype=np.uint64), ("0", "1", "2", "3"), [0, 3] * 5),
        (np.array([7, 2_000_000_000] * 5), ("7", "2000000000"), [0, 1] * 5),
    ],
)
def test_labels_in_every_form(tmp_path, labels, classes, expected):
    np.savez(tmp_path / "a.npz", images=images(10), labels=labels)
    found = load(tmp_path / "a.npz", holdout=0)
    assert found.classes == classes and found.labels.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([0.5, 1], "whole numbers, but one is 0.5"),
        ([float("nan"), 1], "whole numbers, but one is nan"),
        ([float("inf"), 1], "whole numbers, but one is inf"),
        ([-1, 1], "must not be negative, but one is -1"),
        (["", "a"], "one is ''"),
        ([0, 1, 2], "2 images but 3 labels"),
        (np.eye(2), "one-hot labels become indices"),
        ([1j, 0], "not complex128"),
    ],
)
def test_labels_that_name_no_class_are_refused(tmp_path, labels, problem):
    np.savez(tmp_path / "a.npz", images=images(2), labels=labels)
    with pytest.raises(DomtransError, match=problem):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("black", "white", "dtype"),
    [(0, 1, np.float32), (-1, 1, np.float64), (0, 255, np.float16), (0, 65535, np.uint16), (0, 255, np.int64)],
)
def test_other_types_than_bytes_are_scaled_and_a_note_says_how(tmp_path, black, white, dtype):
    values = images(52) * 5
    np.savez(tmp_path / "a.npz", images=(values / 255 * (white - black) + black).round(6).astype(dtype))
    found = load(tmp_path / "a.npz", holdout=0)
    assert numbers(found) == values[:, 0, 0].tolist()
    assert found.notes[0].endswith(f"were read as {black} (black) to {white} (white)")


def test_an_unclear_range_is_refused_and_can_be_stated(tmp_path):
    np.savez(tmp_path / "a.npz", images=images(8) / 2)
    with pytest.raises(DomtransError, match=r"from 0 to 3.5, which are not clearly .*value_range=\[black, white\]"):
        load(tmp_path / "a.npz")
    assert numbers(load(tmp_path / "a.npz", value_range=[0, 3.5], holdout=0)) == [0, 36, 73, 109, 146, 182, 219, 255]
    np.savez(tmp_path / "mask.npz", images=images(8) % 2)
    assert "value_range=[0, 1]" in load(tmp_path / "mask.npz").notes[0]
    assert max(numbers(load(tmp_path / "mask.npz", value_range=[0, 1]))) == 255


def test_images_with_an_alpha_channel_and_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((8, 16, 16, 4), np.uint8))
    with pytest.raises(DomtransError, match=r"not \[8, 16, 16, 4\]; composite an alpha channel first"):
        load(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"something else")
    with pytest.raises(DomtransError, match=r"it is neither an \.npz nor an \.npy file"):
        load(tmp_path / "b.npz")


def test_a_file_sorted_by_class_has_all_classes_in_both_splits(tmp_path):
    np.savez(tmp_path / "a.npz", images=images(80), labels=np.repeat(np.arange(10), 8))
    train, test = (load(tmp_path / "a.npz", split) for split in SPLITS)
    assert train.labels.bincount().tolist() == [7] * 10 and test.labels.bincount().tolist() == [1] * 10
    assert numbers(test) == list(range(7, 80, 8)), "the last of every class"


def test_classes_without_images_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=images(20), labels=[0] * 16 + [2] * 4)
    assert load(tmp_path / "a.npz").notes == (
        "class 1 has no images",
        "class 2 is too small to split with holdout=0.125 and stays in training",
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=any_array(st.sampled_from([np.int64, np.uint8, np.float32, np.bool_, "U2"]), st.integers(1, 30)),
    holdout=st.sampled_from([0, 0.1, 0.125, 0.5, 0.9, 1]),
)
def test_every_image_is_in_one_split_with_its_class_or_all_are_refused(tmp_path, labels, holdout):
    np.savez(tmp_path / "any.npz", images=images(len(labels)), labels=labels)
    found = []
    for split in SPLITS:
        try:
            found.append(load(tmp_path / "any.npz", split, holdout=holdout))
        except DomtransError as refusal:
            assert "labels must" in str(refusal) or "no images for the" in str(refusal) or "is too large" in str(refusal)
    if not found:
        return
    assert sorted(number for each in found for number in numbers(each)) == list(range(len(labels)))
    for each in found:
        for number, label in zip(numbers(each), each.labels.tolist(), strict=True):
            name = labels[number].item()
            assert each.classes[label] == (name.strip() if isinstance(name, str) else str(int(name)))
    if len(found) == 2:
        train, test = found
        assert train.classes == test.classes
        assert set(test.labels.tolist()) <= set(train.labels.tolist()), "no class is in the test split alone"
        assert torch.equal(
            train.labels.bincount(minlength=len(train.classes)) > 0,
            torch.isin(torch.arange(len(train.classes)), torch.cat([train.labels, test.labels])),
        )
