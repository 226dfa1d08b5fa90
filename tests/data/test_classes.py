"""Names of classes: their order, and the same class in two sets."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from domtrans import DomtransError, ImageSet, align_labels, class_list, list_names, natural_key


def labelled(labels, classes):
    return ImageSet(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), torch.tensor(labels), classes)


@pytest.mark.parametrize(
    "ordered",
    [
        ("1", "2", "10"),
        ("-2", "0", "1"),
        ("a2b", "a10b", "B1"),
        ("Cat", "cat", "dog"),
        ("img9.png", "img10.png", "img10a.png"),
        ("", "0", "a"),
        ("1", "9" * 5000),
    ],
)
def test_names_are_in_natural_order(ordered):
    assert class_list(reversed(ordered)) == ordered


@given(st.lists(st.text(max_size=6)))
def test_any_names_have_one_order(names):
    ordered = class_list(names)
    assert set(ordered) == set(names) and class_list(reversed(names)) == ordered
    assert all(natural_key(a) < natural_key(b) for a, b in pairwise(ordered))


def test_labels_are_compared_by_name():
    images = labelled([0, 1, 2, 1], ("b", "a", "x"))
    assert align_labels(images, ("a", "b", "c")).tolist() == [1, 0, -1, 0]
    with pytest.raises(DomtransError, match="has no labels"):
        align_labels(images.unlabelled(), ("a",))


def test_long_lists_are_cut():
    assert list_names(["a", "b"]) == "a, b" and list_names(list("abcdefghijk")) == "a, b, c, d, e, f, g, h and 3 more"


def test_notes_follow_every_subset():
    images = ImageSet(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), notes=("1 file was skipped",))
    subsets = (
        images.take(torch.tensor([0])),
        images.kept("yes"),
        images.to(torch.device("cpu")),
        images.unlabelled(),
        images.some(2),
    )
    assert all(each.notes == images.notes for each in subsets)
