"""Training with torch.compile takes the same steps."""

from dataclasses import replace

import pytest
import torch

from domtrans import DomtransError, Session
from domtrans.compute.distributed import Group
from domtrans.training.checkpoint import training_state
from domtrans.training.experiment import prepare
from domtrans.training.out_of_memory import guarded_step
from domtrans.training.trainer import Trainer
from tiny import registry, tiny_recipe, tiny_trainer

# torch warns while it traces a network.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


def unfused(network, **options):
    """torch.compile without code generation: networks are traced and differentiated as graphs."""
    return COMPILE(network, dynamic=options["dynamic"], backend="aot_eager")


COMPILE = torch.compile


def trained(recipe, steps: int) -> tuple[Trainer, list[dict[str, float]]]:
    trainer = tiny_trainer(recipe)
    return trainer, [{name: float(value) for name, value in guarded_step(trainer).items()} for _ in range(steps)]


REGULARISED = {
    "discriminator__norm": "spectral",
    "view": "noise",
    "discriminator_losses__r1": "gradient-penalty",
    "discriminator_losses__r2": {"name": "gradient-penalty", "images": "generated"},
    "discriminator_losses__lecam": {"name": "lecam", "weight": 0.1},
}


@pytest.mark.parametrize(("steps", "changes"), [(40, {}), (8, REGULARISED)])
def test_compiled_networks_take_the_same_steps(tmp_path, monkeypatch, steps, changes):
    monkeypatch.setattr(torch, "compile", unfused)
    eager, losses = trained(tiny_recipe(tmp_path, train__steps=steps, **changes), steps)
    recipe = tiny_recipe(tmp_path, train__steps=steps, train__compile=True, **changes)
    compiled, compiled_losses = trained(recipe, steps)
    for step, (ours, expected) in enumerate(zip(compiled_losses, losses, strict=True)):
        assert ours == pytest.approx(expected, rel=1e-3, abs=1e-3), step
    state = training_state(eager)
    for name, tensor in training_state(compiled).items():
        torch.testing.assert_close(tensor, state[name], rtol=1e-2, atol=1e-2)


def test_a_missing_compiler_is_one_sentence(tmp_path, monkeypatch):
    def broken(network, **_):
        def no_compiler(graph, inputs):
            raise OSError("g++ is not there")

        return COMPILE(network, backend=no_compiler)

    monkeypatch.setattr(torch, "compile", broken)
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__compile=True))
    with pytest.raises(DomtransError, match=r"train\.compile=true: torch could not compile a network: .*g\+\+ is not there"):
        guarded_step(trainer)


def test_several_processes_cannot_compile(tmp_path):
    recipe = tiny_recipe(tmp_path, train__compile=True)
    session = replace(Session.start("cpu"), group=Group(0, 2))
    with pytest.raises(DomtransError, match=r"train\.compile=true works in one process only"):
        Trainer(prepare(recipe, registry(), Session.start("cpu")), session)
