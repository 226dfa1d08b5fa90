"""check_optimizer: it passes sound optimizers and names the contract that a broken one violates."""

import pytest
import torch

from domtrans.testing import check_optimizer


class Descent(torch.optim.Optimizer):
    """Steps along the moving average of gradients. It counts its steps in the group, as several published optimizers do."""

    decay = 0.5

    def __init__(self, parameters, lr) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1
            for parameter in group["params"]:
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - self.decay)
                self.update(parameter, average / (1 - self.decay ** group["k"]), group["lr"])

    def update(self, parameter, direction, lr):
        parameter.sub_(lr * direction)


class Averaging(Descent):
    """Steps along the moving average of gradients.

    Args:
        decay: Weight of the old average.
    """

    def __init__(self, parameters, lr, *, decay: float = 0.5) -> None:
        self.decay = decay
        super().__init__(parameters, lr)


def decayed(parameters, lr, *, decay: float = 0.01):
    """SGD with weight decay on weights, and none on biases: two groups.

    Args:
        decay: Weight decay.
    """
    parameters = list(parameters)
    weights, biases = ([p for p in parameters if (p.ndim > 1) == wanted] for wanted in (True, False))
    return torch.optim.SGD([{"params": weights, "weight_decay": decay}, {"params": biases}], lr, momentum=0.9)


class Backwards(Descent):
    """Steps against its direction."""

    def update(self, parameter, direction, lr):
        parameter.add_(lr * direction)


class Stubborn(Descent):
    """Ignores the learning rate."""

    def update(self, parameter, direction, lr):
        parameter.sub_(1e-3 * direction)


class Noisy(Descent):
    """Adds noise from torch's global generator."""

    def update(self, parameter, direction, lr):
        parameter.sub_(lr * (direction + 1e-3 * torch.randn_like(direction)))


class Forgetful(Descent):
    """Keeps its average where no checkpoint sees it."""

    @torch.no_grad()
    def step(self, closure=None):
        self.hidden = getattr(self, "hidden", {})
        for group in self.param_groups:
            for parameter in group["params"]:
                average = self.hidden.setdefault(parameter, torch.zeros_like(parameter))
                parameter.sub_(group["lr"] * average.lerp_(parameter.grad, 0.5))


def partial(parameters, lr):
    """SGD of the first parameter."""
    return torch.optim.SGD(list(parameters)[:1], lr)


def failing(parameters, lr):
    """Cannot be built."""
    raise RuntimeError("no such device")


@pytest.mark.parametrize("optimizer", [Averaging, decayed])
def test_sound_optimizers_pass(optimizer):
    check_optimizer(optimizer)


def test_options_and_the_learning_rate_are_passed():
    check_optimizer(Averaging, decay=0.9, lr=1e-2)


@pytest.mark.parametrize(
    ("optimizer", "contract"),
    [
        (partial, "optimizer-steps"),
        (failing, "optimizer-steps"),
        (Stubborn, "optimizer-steps"),
        (Backwards, "optimizer-descends"),
        (Noisy, "optimizer-deterministic"),
        (Forgetful, "optimizer-state"),
    ],
)
def test_a_broken_optimizer_is_named_with_its_contract(optimizer, contract):
    with pytest.raises(AssertionError, match=f"#{contract}"):
        check_optimizer(optimizer)
