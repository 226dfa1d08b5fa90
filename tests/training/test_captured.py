"""A recorded step, replayed without Python, takes the steps that an eager one takes. Recorded on a CPU as CUDA would."""

import pytest
import torch

from domtrans import DomtransError, override
from domtrans.training import captured
from domtrans.training.checkpoint import load_training_state, training_state
from fake_capture import FakeRecorder
from tiny import registry, small_faces, tiny_recipe, tiny_trainer

STEPS = 8
"""Enough for three calls before a recording, on either side of a loss that begins later."""
ADAM = {"name": "adam", "lr": 2**-10, "schedule": "linear"}
"""A captured step has its learning rate in float32, which holds these in all steps exactly."""
SGD = ADAM | {"name": "sgd"}


def pair(tmp_path, monkeypatch, **changes):
    """The same trainer of digits-dtn twice, eager and captured, and the recorder."""
    optimizers = {"train__generator_optimizer": ADAM, "train__discriminator_optimizer": ADAM}
    return pair_of(tiny_recipe(tmp_path, "digits-dtn", **{"train__steps": STEPS, **optimizers, **changes}), monkeypatch)


def pair_of(recipe, monkeypatch):
    """The same trainer of a recipe twice, eager and captured, and the recorder."""
    recorders = []

    def recorder_for(device, rng):
        recorders.append(FakeRecorder(rng))
        return recorders[0]

    monkeypatch.setattr(captured, "recorder_for", recorder_for)
    return tiny_trainer(recipe), tiny_trainer(override(recipe, {"train.capture": True}, registry())), recorders[0]


def assert_same(eager, replayed):
    wanted = training_state(eager)
    assert [name for name, tensor in training_state(replayed).items() if not torch.equal(tensor, wanted[name])] == []


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"generator_losses__gan__start": 0.5, "discriminator_losses__gan__start": 0.0}, (2, 2)),
        ({"train__updates": "separate", "train__discriminator_floor": 0.5, "discriminator_view": "adaptive"}, (2, 8)),
        ({"train__accumulate": 2, "train__discriminator_optimizer": SGD, "discriminator__norm": "batch"}, (1, 4)),
        ({"discriminator_losses__r1": "gradient-penalty", "discriminator_losses__lecam": "lecam"}, (1, 4)),
    ],
    ids=["a loss that begins later", "separate updates", "micro-batches", "gradients of gradients"],
)
def test_replayed_steps_equal_eager_steps(tmp_path, monkeypatch, changes, counts):
    eager, replayed, recorder = pair(tmp_path, monkeypatch, **changes)
    for _ in range(STEPS):
        assert replayed.step() == eager.step()
    assert_same(eager, replayed)
    assert (recorder.recorded, recorder.replayed) == counts


def test_a_g_that_draws_by_parameters_is_recorded(monkeypatch):
    """It draws from torch's global generator, and measures features in batch norm."""
    optimizers = {"train.generator_optimizer": ADAM, "train.discriminator_optimizer": ADAM}
    recipe = override(
        small_faces("avatars-dtn"), {"train.steps": STEPS, "train.precision": "float32", **optimizers}, registry()
    )
    eager, replayed, recorder = pair_of(recipe, monkeypatch)
    for _ in range(STEPS):
        assert replayed.step() == eager.step()
    assert_same(eager, replayed)
    assert recorder.recorded == 1


def test_a_loaded_state_is_recorded_anew(tmp_path, monkeypatch):
    starts = {f"{player}_losses__gan__start": 0.0 for player in ("generator", "discriminator")}
    eager, replayed, recorder = pair(tmp_path, monkeypatch, **starts)
    for _ in range(4):
        eager.step(), replayed.step()
    assert recorder.recorded == 1
    state = {name: tensor.clone() for name, tensor in training_state(eager).items()}
    for trainer in (eager, replayed):
        load_training_state(trainer, state)
        for _ in range(4):
            trainer.step()
    assert_same(eager, replayed)
    assert recorder.recorded == 2


def test_a_step_that_waits_for_the_gpu_is_refused(tmp_path, monkeypatch):
    _, replayed, _ = pair(tmp_path, monkeypatch)
    replayed.D.register_forward_hook(lambda module, inputs, output: output * float(output.isfinite().all()))
    with pytest.raises(DomtransError, match=r"train\.capture=true: a part of this recipe makes the host wait for the GPU"):
        for _ in range(5):
            replayed.step()


def test_only_cuda_records(tmp_path):
    with pytest.raises(DomtransError, match=r"train\.capture=true records CUDA graphs, and cpu has none; set it to false"):
        tiny_trainer(tiny_recipe(tmp_path, train__capture=True))
