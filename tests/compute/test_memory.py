"""Memory: the peak in the log, and the advice when a step runs out of memory."""

import platform
import re
import subprocess
import sys

import pytest
import torch

import domtrans
from domtrans import DomtransError, Generator, override
from domtrans.compute.distributed import Group
from domtrans.compute.memory import enough_memory, freed_memory_kept, is_out_of_memory, peak_memory
from domtrans.training import out_of_memory
from domtrans.training.out_of_memory import guarded_step, largest_that_fits
from paths import HELPERS
from tiny import registry, tiny_recipe, tiny_trainer
from tiny_runs import go, metrics

MAX_IMAGES = 5
"""Images of each domain that the hungry g accepts at a time."""


class HungryGenerator(Generator):
    """A g that allocates a petabyte, from the real allocator, if it gets too many features at a time."""

    def __init__(self, feature_size: int, channels: int, size: int, *, most: int = MAX_IMAGES) -> None:
        super().__init__()
        self.most, self.shape = most, (channels, size, size)
        self.layer = torch.nn.Linear(feature_size, channels * size * size)

    def forward(self, features):
        if self.training and len(features) > 2 * self.most:
            torch.empty(2**50)
        return torch.tanh(self.layer(features).float()).unflatten(1, self.shape)


@pytest.fixture
def hungry():
    class Plugin:
        @domtrans.hookimpl
        def register(self, registry):
            registry.generator("hungry", HungryGenerator)

    return domtrans.load_plugins(Plugin()).registry


def hungry_recipe(folder, hungry, **changes):
    return override(tiny_recipe(folder, **changes), ["generator=hungry"], hungry)


def test_every_line_of_the_log_has_the_peak_memory(tmp_path):
    used = [line["memory_mb"] for line in metrics(go(tiny_recipe(tmp_path, train__steps=2), tmp_path / "run").path)]
    assert used == sorted(used) and 50 < used[0] < 100_000
    assert peak_memory(torch.device("cpu"))["memory_mb"] >= used[-1]


def test_a_step_that_does_not_fit_names_one_that_does(tmp_path, hungry):
    recipe = hungry_recipe(tmp_path, hungry, train__batch_size=32)
    with pytest.raises(DomtransError) as refusal:
        domtrans.train(recipe, tmp_path / "run", device="cpu", registry=hungry)
    assert str(refusal.value) == (
        "there is not enough memory for a step with train.batch_size=32, 32 images at a time; 4 at a time fit, the most "
        "among its halves, quarters and so on; set train.batch_size=4, or train.accumulate=8 to take the same "
        "batch in smaller parts"
    )
    for advice in ("train.batch_size=4", "train.accumulate=8"):
        followed = override(recipe, [advice, "train.steps=1"], hungry)
        assert domtrans.train(followed, tmp_path / advice, device="cpu", registry=hungry).results["steps"] == 1


def test_a_saved_run_resumes_with_smaller_micro_batches(tmp_path, hungry):
    recipe = hungry_recipe(tmp_path, hungry, train__batch_size=8, train__steps=2, train__save_every=1)
    roomy = override(recipe, ["generator.most=100"], hungry)
    domtrans.train(roomy, tmp_path / "run", device="cpu", registry=hungry)
    options = {"device": "cpu", "registry": hungry, "resume": True}
    longer = override(roomy, ["train.steps=3"], hungry)
    went_on = domtrans.train(longer, tmp_path / "run", allow_changes=["train.accumulate=2"], **options)
    assert went_on.results["steps"] == 3 and went_on.results["changed"] == ["from step 2: train.accumulate: 1 -> 2"]


def test_two_images_that_do_not_fit_are_an_error(tmp_path, hungry):
    recipe = override(hungry_recipe(tmp_path, hungry, train__batch_size=8), ["generator.most=1"], hungry)
    with pytest.raises(DomtransError, match="and not even for 2; choose smaller networks or a smaller image_size"):
        domtrans.train(recipe, tmp_path / "run", device="cpu", registry=hungry)


def test_several_processes_do_not_search_for_a_size_because_the_others_would_wait(tmp_path, monkeypatch):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__batch_size=32))
    object.__setattr__(trainer.session, "group", Group(0, 2))
    trainer.set_micro_batch_size(16)

    def step():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(trainer, "step", step)
    with pytest.raises(DomtransError, match=r"16 images at a time in each process; try train.accumulate=2, or a smaller"):
        guarded_step(trainer)


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="the allocator is glibc's")
def test_freed_memory_is_used_again_without_getting_it_from_the_system():
    import resource

    def faults() -> int:
        """Page faults of three tensors of 28 MiB."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(7, 2**20) for _ in range(3)]
        assert len(tensors) == 3
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with freed_memory_kept():
        assert min(faults() for _ in range(6)) < 100  # one of these tensors alone has more than 7,000 pages


def test_other_errors_of_a_step_are_not_reported_as_out_of_memory(tmp_path, monkeypatch):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    monkeypatch.setattr(trainer, "step", lambda: torch.ones(2, 3) @ torch.ones(2, 3))
    for attempt in (lambda: guarded_step(trainer), lambda: largest_that_fits(trainer, 8)):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            attempt()
    assert (
        is_out_of_memory(MemoryError())
        and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
        and not is_out_of_memory(ValueError("x"))
    )


def test_a_fit_that_runs_out_of_memory_says_what_to_set(tmp_path):
    class Plugin:
        @domtrans.hookimpl
        def register(self, registry):
            registry.fit("huge", huge)

    def huge(encoder, source, session):
        """Allocate a petabyte."""
        torch.empty(2**50)

    extended = domtrans.load_plugins(Plugin()).registry
    recipe = override(tiny_recipe(tmp_path), ["fit=huge"], extended)
    with pytest.raises(DomtransError, match=r"memory for fitting f; choose a smaller fit.batch_size or a smaller encoder"):
        domtrans.train(recipe, tmp_path / "run", device="cpu", registry=extended)
    with pytest.raises(ZeroDivisionError), enough_memory("this", "that"):
        raise ZeroDivisionError
    assert registry() is not extended


LIMITED = """
import resource, sys
sys.path[:0] = {path!r}
import domtrans
from tiny import registry, tiny_recipe
from pathlib import Path
limit = 12 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
recipe = tiny_recipe(Path(sys.argv[1]), train__batch_size=2_000_000)
try:
    domtrans.train(recipe, Path(sys.argv[1]) / "run", device="cpu", registry=registry())
except domtrans.DomtransError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on the address space is Linux's")
def test_a_batch_that_no_memory_holds_is_refused_before_the_first_step(tmp_path):
    code = LIMITED.format(path=[str(HELPERS)])
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.startswith("a step with train.batch_size=2000000, 2000000 images at a time, needs at least "), said
    size = int(re.search(r"set train\.batch_size=(\d+), or train\.accumulate=\d+ to compute the same batch", said)[1])
    assert 4 < size < 2_000_000 and not (tmp_path / "run" / "metrics.jsonl").exists()


def test_the_estimate_is_what_autograd_keeps_and_no_more_than_a_step_needs(tmp_path):
    """Of a g that is one linear layer and a tanh, autograd keeps the features and the images."""

    class Plain(Generator):
        def __init__(self, feature_size: int, channels: int, size: int) -> None:
            super().__init__()
            self.shape, self.layer = (channels, size, size), torch.nn.Linear(feature_size, channels * size * size)

        def forward(self, features):
            return torch.tanh(self.layer(features)).unflatten(1, self.shape)

    g = Plain(8, 1, 16)
    assert out_of_memory._growth(lambda count: g(torch.zeros(count, 8))) == 4 * (8 + 256)


def test_the_estimate_counts_d_also_after_a_step(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    before = out_of_memory.bytes_per_image(trainer)
    trainer.step()
    assert out_of_memory.bytes_per_image(trainer) == before > 0
