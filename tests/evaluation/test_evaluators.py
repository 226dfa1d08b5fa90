"""Evaluators are fitted alike in every run, are cached, and disturb no other training in the process."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from domtrans import Cache, Evaluator, ImageSet, Session, fit_evaluator, seeded
from domtrans.compute import seeding
from tiny import bars


class Thinned(Evaluator):
    """A network with dropout."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(32 * 32, 3))

    def forward(self, images):
        return self.layers(images)


def no_view(images, rng):
    return images


def mean_square(outputs, index):
    return outputs.square().mean()


def fit(folder, loss=mean_square, precision="float32", build=Thinned):
    session = Session.start("cpu", precision=precision, cache=Cache(folder)).during("evaluate")
    images = ImageSet.from_arrays(bars(8, channels=1)[0], size=32)
    return fit_evaluator(build, images, session, loss, steps=3, batch_size=4, lr=0.1, view=no_view)


def test_an_evaluator_depends_on_no_seed_outside_and_changes_none(tmp_path):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(fit(tmp_path / str(seed)))
        assert torch.equal(torch.get_rng_state(), before) and not found[-1].training
    assert torch.equal(*(network.layers[2].weight for network in found))


def test_dropout_draws_the_numbers_after_those_of_the_initial_weights(tmp_path):
    with seeded(0):
        Thinned()
        expected = nn.Dropout(0.5)(torch.ones(4, 32 * 32)) == 0
    dropped = []

    class Watched(Thinned):
        def forward(self, images):
            dropped.append(self.layers[1](torch.ones(4, 32 * 32)) == 0)
            return self.layers(images)

    fit(tmp_path, build=Watched)
    assert torch.equal(dropped[0], expected)


def test_other_threads_that_seed_do_not_wait_for_a_fit(tmp_path):
    def may_seed():
        free = seeding._LOCK.acquire(blocking=False)
        if free:
            seeding._LOCK.release()
        return free

    found = []
    with ThreadPoolExecutor(1) as other:

        def loss(outputs, index):
            found.append(other.submit(may_seed).result())
            return outputs.square().mean()

        fit(tmp_path, loss)
    assert found == [True] * 3


def test_an_evaluator_itself_is_the_old_argument(tmp_path):
    evaluator = Thinned()
    with pytest.warns(DeprecationWarning, match="a function that builds the evaluator"):
        assert fit(tmp_path, build=evaluator) is evaluator


@pytest.mark.parametrize(("precision", "entries"), [("float32", 1), ("bf16", 2)])
def test_an_evaluator_of_another_precision_is_another_entry_of_the_cache(tmp_path, precision, entries):
    fit(tmp_path)
    fit(tmp_path, precision=precision)
    assert len(list(tmp_path.glob("evaluators/*"))) == entries
