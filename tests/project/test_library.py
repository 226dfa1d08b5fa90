"""domtrans inside another program: no global state, no printing, stopped from outside, as good in a thread as alone."""

import threading

import numpy as np
import pytest
import torch

import domtrans
from domtrans import Stopped, load_plugins, override, train
from tiny import tiny_recipe


def trained(folder, seed, steps=6):
    """Weights and figures of a run, with a registry and a recipe of its own."""
    folder.mkdir()
    registry = load_plugins(only=()).registry
    recipe = override(tiny_recipe(folder), {"seed": seed, "train.steps": steps}, registry)
    run = train(recipe, folder / "run", registry=registry, device="cpu")
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}, run.results["accuracy"]


def test_two_trainings_in_threads_do_not_meet(tmp_path, monkeypatch):
    # A cache that cannot be written: every training fits f and its evaluator itself.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "file" / "cache"))
    alone = {seed: trained(tmp_path / f"alone-{seed}", seed) for seed in (1, 2)}
    beside = {}
    threads = [
        threading.Thread(target=lambda seed=seed: beside.update({seed: trained(tmp_path / f"beside-{seed}", seed)}))
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (1, 2):
        different = [name for name, tensor in alone[seed][0].items() if not torch.equal(tensor, beside[seed][0][name])]
        assert not different
        assert alone[seed][1] == beside[seed][1]


def test_two_registries_do_not_meet():
    first, second = load_plugins(only=()).registry, load_plugins(only=()).registry
    first.distance("mine", lambda a, b: a)
    assert "mine" not in second.names("distance")


def test_nothing_is_printed(tmp_path, capfd):
    made = train(tiny_recipe(tmp_path), tmp_path / "run", device="cpu")
    made.evaluate()
    made.transfer(torch.zeros(1, 3, 32, 32))
    assert capfd.readouterr() == ("", "")


def test_the_program_s_own_generators_and_settings_are_left_alone(tmp_path):
    torch.manual_seed(11)
    np.random.seed(11)
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    made = train(tiny_recipe(tmp_path), tmp_path / "run", device="cpu")
    made.evaluate()
    domtrans.load(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == (threads, dtype, grad)


def test_a_stop_event_ends_any_phase(tmp_path):
    for index, phase in enumerate(("data", "fit", "train", "evaluate")):
        stop = threading.Event()

        def listen(progress, stop=stop, phase=phase):
            if progress.phase == phase:
                stop.set()

        folder = tmp_path / str(index)
        folder.mkdir()
        with pytest.raises(Stopped):
            train(tiny_recipe(folder), folder / "run", device="cpu", listeners=(listen,), stop=stop)


def test_a_run_works_without_its_training_data(tmp_path):
    train(tiny_recipe(tmp_path), tmp_path / "run", device="cpu")
    for file in tmp_path.glob("*.npz"):
        file.unlink()
    loaded = domtrans.load(tmp_path / "run")
    assert loaded.transfer(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)
    assert loaded.encode(torch.zeros(2, 3, 32, 32)).shape == (2, 128)
    assert loaded.recipe.name == "digits-dtn-paper"


def test_a_stranger_s_fault_says_whose_it_is(tmp_path):
    class Plugin:
        @domtrans.hookimpl
        def register(self, registry):
            registry.domain("faulty", faulty)

    def faulty(split, size):
        raise ZeroDivisionError

    registry = load_plugins(Plugin(), only=()).registry
    with pytest.raises(ZeroDivisionError) as fault:
        domtrans.load_domain(registry, domtrans.use("faulty"), "train", 32)
    assert fault.value.__notes__ == ["raised while building the domain 'faulty' of plugin 'Plugin'"]
