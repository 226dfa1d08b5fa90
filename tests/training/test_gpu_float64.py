"""Nothing that a training computes on its device is in float64, which the MPS of a Mac does not have. Tried without one."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from domtrans import Batches, Session
from domtrans.evaluation.label_free_score import SCORE, LabelFreeScore
from domtrans.model.transfer import Transfer
from domtrans.training.experiment import prepare
from domtrans.training.trainer import Trainer
from fake_gpu import GPU, AnyValue, fake_gpu
from tiny import registry, tiny_recipe


class NoFloat64(AnyValue):
    """Raises where a tensor of the device would be in float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for tensor in tree_leaves(result):
            on_device = isinstance(tensor, Tensor) and tensor.device.type != "cpu"
            assert not (on_device and tensor.dtype == torch.float64), f"{func} makes float64 on the device"
        return result


@pytest.mark.parametrize("head", [None, 4])
def test_a_training_needs_no_float64_on_its_device(tmp_path, head):
    recipe = tiny_recipe(tmp_path, fit=None, encoder__head=head, train__validate_every=1)
    session = Session.start("cpu", precision="float32")
    experiment = prepare(recipe, registry(), session)
    with fake_gpu(), NoFloat64():
        trainer = Trainer(experiment, replace(session.during("train"), device=GPU))
        trainer.f.standardize(trainer.source)
        assert SCORE in LabelFreeScore(trainer.source, trainer.target).score(Transfer(trainer.f, trainer.g))
        assert Batches(8, 4, 0, torch.ones(8, device=GPU)).weights.device.type == "cpu"
        trainer.step()
