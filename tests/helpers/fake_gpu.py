"""Run a training step on a GPU that is not there.

Tensors have shapes, types and the device "cuda", but no values (torch's ``FakeTensorMode``). Operations on tensors of two
devices raise, and so does every operation whose result the host needs. ``GpuWaits`` adds copies from the host that wait for
the GPU. The backward pass is left out, and gradients are made up, because torch's autograd engine needs a real GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from domtrans import Recipe, Session
from domtrans.data.image_set import ImageSet
from domtrans.model.alignment import FeatureAlignment
from domtrans.training import domain
from domtrans.training.experiment import prepare
from domtrans.training.trainer import Trainer
from tiny import registry

GPU = torch.device("cuda")


class AnyValue(TorchDispatchMode):
    """Makes up every value that the host reads. A wait before the first step costs nothing."""

    devices = ("cpu", "cuda")
    """Where the values that it makes up lie."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device.type in self.devices:
            return 0.5 if args[0].is_floating_point() else 1
        if func.overloadpacket.__name__.startswith("_fused_"):  # these work in place, and not all work without values
            assert {tensor.device.type for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)} == {"cuda"}
            return None
        return func(*args, **(kwargs or {}))


class GpuWaits(AnyValue):
    """Raises where the host would wait for the GPU to copy: ``.to(device)`` without ``non_blocking``, an index on the CPU.

    Values on the CPU are at hand, and made up.
    """

    devices = ("cpu",)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, source = func.overloadpacket.__name__, args[0] if args and isinstance(args[0], Tensor) else None
        if name == "_to_copy" and source is not None and kwargs.get("device", source.device).type != source.device.type:
            assert kwargs.get("non_blocking"), "a copy between host and GPU waits for the GPU"
        if name == "copy_" and source.device.type != args[1].device.type:
            assert len(args) > 2 and args[2], "a copy between host and GPU waits for the GPU"
        if name.startswith("index") and source is not None and source.device.type == "cuda":
            indices = [index for index in tree_leaves(args[1:]) if isinstance(index, Tensor) and index.ndim]
            assert all(index.device.type == "cuda" for index in indices), "an index on the CPU waits for the GPU"
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Let tensors say that they are on a GPU, and replace what needs a real one."""

    def to(module: nn.Module, *args: Any, device: Any = None, **kwargs: Any) -> nn.Module:
        if args and isinstance(args[0], str | torch.device):
            device = args[0]
        for part in module.modules():
            for name, tensor in part._parameters.items() if device else ():
                if tensor is not None and tensor.device.type != "cuda":
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
                    part._parameters[name] = nn.Parameter(fake, requires_grad=tensor.requires_grad)
            for name, tensor in part._buffers.items() if device else ():
                if tensor is not None and tensor.device.type != "cuda":
                    part._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
        return module

    def to_gpu(images: ImageSet, device: Any) -> ImageSet:
        if not isinstance(images.pixels, Tensor):
            return images
        moved = object.__new__(ImageSet)  # the constructor checks the values of the labels
        labels, parameters = (None if each is None else each.to(device) for each in (images.labels, images.parameters))
        for name, value in vars(images).items():
            object.__setattr__(moved, name, value)
        object.__setattr__(moved, "pixels", images.pixels.to(device))
        object.__setattr__(moved, "labels", labels)
        object.__setattr__(moved, "parameters", parameters)
        return moved

    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        patch.object(nn.Module, "to", to),
        patch.object(ImageSet, "to", to_gpu),
        patch.object(Session, "rng", lambda *_: None),
        patch.object(Tensor, "backward", lambda _: None),
        patch.object(torch.autograd, "grad", lambda outputs, inputs, **_: (torch.empty_like(inputs),)),
        patch.object(optimizer, "_foreach_supported_types", [FakeTensor]),  # as all parameters of a real GPU are
        # These read values before the first step, where a wait costs nothing.
        patch.object(domain, "balanced", lambda groups: torch.ones(len(groups))),
        patch.object(FeatureAlignment, "of", any_alignment),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # by copy.deepcopy
        yield


def any_alignment(source: Tensor, target: Tensor) -> FeatureAlignment:
    """An alignment of features [N, F], or maps [N, C, h, w], without reading them."""
    vector = source.new_empty(source.shape[1])
    return FeatureAlignment(vector, torch.outer(vector, vector), vector)


def trainer_on_fake_gpu(recipe: Recipe, prepared: Any = None) -> Trainer:
    """A trainer at step 0 whose networks and images are on the GPU of ``fake_gpu``."""
    session = Session.start("cpu", precision="float32", seed=recipe.seed)
    experiment = prepare(recipe, registry(), session)
    with fake_gpu():
        return Trainer(experiment, replace(session.during("train"), device=GPU))


def step_without_waiting(trainer: Trainer, steps: Callable[[], Any] | None = None) -> Any:
    """Run a step, or other work that runs steps. Raises where it would wait for the GPU or mixes devices."""

    def backward(_: Tensor) -> None:
        for network in (trainer.g, trainer.D):
            make_up_gradients(network)

    with fake_gpu(), patch.object(Tensor, "backward", backward), GpuWaits():
        return (steps or trainer.step)()


def make_up_gradients(network: nn.Module) -> None:
    """Give every parameter that learns a gradient."""
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
