"""The search space: which values each path of a recipe may take."""

import pytest

from domtrans import DomtransError
from domtrans.studies.search_space import ChoiceDimension, RangeDimension, all_combinations, split_space


def test_changes_are_dimensions_or_plain():
    space, plain = split_space(
        ["train.steps=300", "discriminator.width=16, 32,16", "a.lr=log(1e-4,0.01)", "b=range(5,20)", "train.betas=[0.5,0.9]"]
    )
    assert space == [
        ChoiceDimension("discriminator.width", ("16", "32")),
        RangeDimension("a.lr", 1e-4, 0.01, log=True),
        RangeDimension("b", 5, 20, log=False),
    ]
    assert plain == ["train.steps=300", "train.betas=[0.5,0.9]"]
    assert [dimension.change(value) for dimension, value in zip(space, ("32", 0.001, 7), strict=True)] == [
        "discriminator.width=32",
        "a.lr=0.001",
        "b=7",
    ]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["train.steps=3"], "there is nothing to search"),
        (["a=1,2", "a=3,4"], "'a' is in the search space twice"),
        (["a=1,,2"], "empty value"),
        (["a=log(0,1)"], "a low and a high number above 0"),
        (["a=range(5,2)"], "a low and a high number, in this order"),
        (["a=range(5)"], r"needs two numbers, e\.g\. a=range\(1,10\)"),
        (["a=log(1,x)"], "needs two numbers"),
        (["a=range(true,2)"], "needs two numbers"),
        (["a=range(0,Infinity)"], "needs two numbers"),
    ],
)
def test_what_spans_no_space_is_refused(changes, wanted):
    with pytest.raises(DomtransError, match=wanted):
        split_space(changes)


def test_all_combinations_of_a_small_space():
    space = [ChoiceDimension("a", ("1", "2")), ChoiceDimension("b", ("x", "y", "z"))]
    assert all_combinations(space, 5) is None and all_combinations([*space, RangeDimension("c", 1, 2, log=False)], 1000) is None
    assert all_combinations(space, 6) == [{"a": a, "b": b} for a in "12" for b in "xyz"]
