"""Optimizers with their schedules, and the EMA of g."""

import copy

import pytest
import torch

from domtrans import DomtransError, OptimizerConfig, Registry, override
from domtrans.storage.tensors import read_tensors
from domtrans.training.optim import ExponentialMovingAverage, Optimizer, learning_rate
from tiny import registry, tiny_recipe, tiny_trainer
from tiny_runs import go


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, [2.0] * 5),
        ({"schedule": "linear"}, [2, 1.5, 1, 0.5, 0]),
        ({"schedule": "linear", "final_lr": 0.5}, [2, 1.75, 1.5, 1.25, 1]),
        ({"schedule": "cosine"}, [2, 1.70710678, 1, 0.29289322, 0]),
        ({"schedule": "cosine", "final_lr": 0.1}, [2, 1.7363961, 1.1, 0.4636039, 0.2]),
    ],
)
def test_schedules(config, wanted):
    made = OptimizerConfig(lr=2.0, **config)
    assert [learning_rate(made, step, 8) for step in (0, 2, 4, 6, 8)] == pytest.approx(wanted, abs=1e-8)


def test_a_warmup_rises_to_the_full_rate():
    made = OptimizerConfig(lr=1.0, warmup=0.5)
    rates = [learning_rate(made, step, 8) for step in range(8)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])


def test_the_schedule_reaches_both_optimizers(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__generator_optimizer__schedule="linear"))
    trainer.step()
    trainer.step()
    assert trainer.g_optimizer.torch.param_groups[0]["lr"] == pytest.approx(2e-4 * 0.75)
    assert trainer.D_optimizer.torch.param_groups[0]["lr"] == pytest.approx(2e-4)


def test_optimizers_use_the_settings_of_the_recipe():
    network = torch.nn.Linear(2, 2)
    sgd = Optimizer(registry(), network, OptimizerConfig(name="sgd", options={"momentum": 0.7, "weight_decay": 0.1}), 5).torch
    adamw = Optimizer(
        registry(), network, OptimizerConfig(name="adamw", options={"betas": (0.7, 0.9), "weight_decay": 0.1}), 5
    ).torch
    assert (
        type(sgd) is torch.optim.SGD and sgd.param_groups[0]["momentum"] == 0.7 and sgd.param_groups[0]["weight_decay"] == 0.1
    )
    assert type(adamw) is torch.optim.AdamW and adamw.param_groups[0]["betas"] == (0.7, 0.9)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_reloaded_optimizer_takes_the_same_steps_in_any_memory_layout(name):
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    gradients = [[torch.randn_like(w) for w in net.parameters()] for _ in range(3)]

    def step(optimizer, network, k):
        for weight, gradient in zip(network.parameters(), gradients[k], strict=True):
            weight.grad = gradient.clone()
        optimizer.step()

    config = OptimizerConfig(name=name, lr=0.1)
    first = Optimizer(registry(), net, config, 3)
    step(first, net, 0)
    other = copy.deepcopy(net)
    second = Optimizer(registry(), other, config, 3)
    second.load_state({key: value.clone(memory_format=torch.contiguous_format) for key, value in first.state().items()})
    for k in (1, 2):
        step(first, net, k)
        step(second, other, k)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_the_ema_follows_its_formula():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    average = ExponentialMovingAverage(net, 0.3)
    wanted = [w.detach().clone().double() for w in net.parameters()]
    for step in range(12):
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(torch.randn_like(weight))
        net(torch.randn(4, 2))
        average.set_weight(step)
        average.update(net)
        decay = min(0.3, (1 + step) / (10 + step))
        wanted = [decay * mine + (1 - decay) * w.detach().double() for mine, w in zip(wanted, net.parameters(), strict=True)]
    for mine, w in zip(average.module.parameters(), wanted, strict=True):
        torch.testing.assert_close(mine.double(), w, rtol=1e-5, atol=1e-6)
    assert torch.equal(average.module[1].running_mean, net[1].running_mean)
    assert not average.module.training


def test_without_ema_the_last_weights_are_saved(tmp_path):
    run = go(tiny_recipe(tmp_path, train__ema=0), tmp_path / "run")
    state = read_tensors(run.path / "training.safetensors")[0]
    for key, value in run.model.generator.state_dict().items():
        assert torch.equal(value, state[f"generator.{key}"]) and torch.equal(value, state[f"average.{key}"])


def test_the_ema_is_saved_and_loaded(tmp_path):
    run = go(tiny_recipe(tmp_path, train__ema=0.9), tmp_path / "run")
    state = read_tensors(run.path / "training.safetensors")[0]
    for key, value in run.model.generator.state_dict().items():
        assert torch.equal(value, state[f"average.{key}"])
    assert not torch.equal(state["generator.layers.1.weight"], state["average.layers.1.weight"])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_skipped_update_changes_nothing(name):
    """Also the first one, before there are moments."""
    plain, skipping = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    skipping.load_state_dict(plain.state_dict())
    optimizers = [Optimizer(registry(), network, OptimizerConfig(name=name, lr=0.1), 10) for network in (plain, skipping)]
    for values in ((1.0,), (2.0,)):
        for network in (plain, skipping):
            network.weight.grad, network.bias.grad = torch.full((2, 3), *values), torch.full((2,), *values)
        before = skipping.weight.clone()
        optimizers[1].step(skip=torch.tensor(True))
        assert torch.equal(skipping.weight, before)
        optimizers[0].step()
        optimizers[1].step(skip=torch.tensor(False))
        assert torch.equal(skipping.weight, plain.weight) and not torch.equal(skipping.weight, before)
    states = [optimizer.state() for optimizer in optimizers]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def plain(parameters, lr):
    """Adagrad, which knows nothing of recordings and skipped steps."""
    return torch.optim.Adagrad(parameters, lr)


def with_plain():
    other = Registry()
    other.optimizer("plain", plain)
    return other


def test_the_optimizer_of_a_plugin_skips_updates_too():
    network = torch.nn.Linear(3, 2)
    optimizer = Optimizer(with_plain(), network, OptimizerConfig(name="plain", lr=0.1), 10)
    network.weight.grad, network.bias.grad = torch.ones(2, 3), torch.ones(2)
    before = network.weight.clone()
    optimizer.step(skip=torch.tensor(True))
    assert torch.equal(network.weight, before)
    optimizer.step(skip=torch.tensor(False))
    assert not torch.equal(network.weight, before)


def test_an_optimizer_that_cannot_be_recorded_is_refused():
    with pytest.raises(DomtransError, match=r"train\.capture=true cannot record the steps of the optimizer 'plain'"):
        Optimizer(with_plain(), torch.nn.Linear(3, 2), OptimizerConfig(name="plain"), 10, capturable=True)


def test_a_recorded_step_that_may_be_skipped_needs_a_fused_kernel():
    config = OptimizerConfig.model_validate({"name": "torch", "algorithm": "RAdam"})
    optimizer = Optimizer(registry(), torch.nn.Linear(3, 2), config, 10, capturable=True)
    with pytest.raises(DomtransError, match=r"set train\.discriminator_floor to 0, or train\.capture to false"):
        optimizer.step(skip=torch.tensor(True))


def test_something_other_than_an_optimizer_is_refused():
    other = Registry()
    other.optimizer("nothing", lambda parameters, lr: None)
    with pytest.raises(DomtransError, match=r"'nothing' must be a torch\.optim\.Optimizer, not NoneType"):
        Optimizer(other, torch.nn.Linear(3, 2), OptimizerConfig(name="nothing"), 10)


def test_the_state_of_other_parameters_is_refused():
    small, large = (Optimizer(registry(), torch.nn.Linear(size, 2), OptimizerConfig(), 10) for size in (3, 4))
    for parameter in large.parameters:
        parameter.grad = torch.zeros_like(parameter)
    large.step()
    state = large.state()
    for broken, message in (
        (state, "belongs to no parameter"),
        ({key: value for key, value in state.items() if key == "1.step"}, "parameter 1 lacks exp_avg"),
        ({"group.0.eps2": torch.tensor(1.0)}, "belongs to no parameter"),
        ({"group.7.eps": torch.tensor(1.0)}, "belongs to no parameter"),
    ):
        with pytest.raises(ValueError, match=message):
            small.load_state(broken)


def test_an_optimizer_set_by_name_keeps_its_learning_rate_but_no_options(tmp_path):
    recipe = tiny_recipe(tmp_path, train__generator_optimizer={"name": "adam", "lr": 0.5, "weight_decay": 0.1})
    sgd = override(recipe, ["train.generator_optimizer=sgd"], registry()).train.generator_optimizer
    assert (sgd.name, sgd.lr, sgd.options) == ("sgd", 0.5, {"momentum": 0.5, "weight_decay": 0.0})


def test_sgd_without_momentum_keeps_nothing_when_a_step_is_skipped():
    """A resumed run reads only what an optimizer keeps."""
    layer = torch.nn.Linear(3, 2)
    config = OptimizerConfig(name="sgd", options={"momentum": 0})
    optimizer = Optimizer(registry(), layer, config, 10)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step(skip=torch.tensor(True))
    Optimizer(registry(), layer, config, 10).load_state(optimizer.state())


def test_the_momentum_of_old_recipes_is_read():
    old = OptimizerConfig.model_validate({"name": "sgd", "lr": 0.1, "betas": [0.7, 0.999], "weight_decay": 0.0})
    assert old.options == {"momentum": 0.7, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "RAdan"}, "did you mean 'RAdam'"),
        ({"algorithm": "LBFGS"}, r"no optimizer 'LBFGS' that works here"),
        ({"algorithm": "Adam", "arguments": {"beta": 3}}, "torch's Adam cannot be built from these arguments: .*beta"),
        ({"algorithm": "Adam", "arguments": {"differentiable": True}}, "torch's Adam cannot take a step with these arguments"),
    ],
)
def test_a_wrong_optimizer_of_torch_is_one_sentence(options, message):
    with pytest.raises(DomtransError, match=message):
        Optimizer(registry(), torch.nn.Linear(3, 2), OptimizerConfig(name="torch", options=options), 10)
