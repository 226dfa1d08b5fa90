"""Batches: every image once per epoch, and batch k a pure function of k."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from domtrans import Batches, balanced
from domtrans.data.batches import derive_seed


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(1, 30), size=st.integers(1, 70), seed=st.integers(0, 2**63 - 1))
def test_every_index_occurs_once_per_epoch(n, size, seed):
    batches = Batches(n, size, seed)
    epochs = 4
    drawn = torch.cat([batches[k] for k in range(epochs * n // size + 1)])
    for epoch in range(len(drawn) // n):
        assert sorted(drawn[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(order=st.lists(st.integers(0, 40), min_size=1, max_size=12), weighted=st.booleans())
def test_batch_k_does_not_depend_on_earlier_requests(order, weighted):
    weights = torch.arange(1, 8).double() if weighted else None
    batches = Batches(7, 5, 3, weights)
    for k in order:
        assert torch.equal(batches[k], Batches(7, 5, 3, weights)[k])


def test_seeds_and_epochs_have_different_shuffles():
    batches = Batches(100, 100, 0)
    assert not torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], Batches(100, 100, 1)[0])
    assert not torch.equal(batches[0], torch.arange(100))


@pytest.mark.parametrize("size", [1, 5, 17])
def test_a_batch_has_its_size_and_type(size):
    batch = Batches(5, size, 0)[3]
    assert batch.shape == (size,) and batch.dtype == torch.int64


def test_weights_set_how_often_an_image_is_sampled():
    weights = torch.tensor([1.0, 0.0, 3.0])
    batches = Batches(3, 400, 0, weights)
    counts = torch.bincount(torch.cat([batches[k] for k in range(10)]), minlength=3) / 4000
    assert counts[1] == 0 and counts[2].item() == pytest.approx(0.75, abs=0.03)


def test_balanced_weights_make_groups_equally_frequent():
    groups = torch.tensor([0, 0, 0, 0, 2, 2, 5])
    weights = balanced(groups)
    sums = [weights[groups == group].sum().item() for group in (0, 2, 5)]
    assert sums == pytest.approx([1, 1, 1])


def test_the_global_random_state_is_not_changed():
    before = torch.get_rng_state()
    Batches(9, 4, 0)[3]
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_have_63_bits_and_differ_by_purpose():
    assert derive_seed(0, "views", 3) == derive_seed(0, "views", 3) < 2**63
    made = {derive_seed(seed, *path) for seed in (0, 1) for path in ((), ("a",), ("b",), ("a", 1), ("a", 2), (1, "a"))}
    assert len(made) == 12
    assert derive_seed(0, "epoch", 0) == 372989311444478537
