"""Checks of encoders, generators and discriminators."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from domtrans.data.planes import MAX_CHANNELS
from domtrans.errors import DomtransError
from domtrans.interfaces import Discriminator, Encoder, Generator, head_sizes
from domtrans.model.image_sizes import reads_maps
from domtrans.storage.tensors import read_tensors, write_tensors
from domtrans.testing.contracts import Subject, examine, seeded

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

BATCH = 3
CLOSE = 1e-4
"""Largest difference of two results, relative to the largest value: kernels differ between layouts."""


def check_encoder(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check an encoder against its contracts: ``check_encoder(registry, "mine", width=8)`` or ``check_encoder(Mine)``.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the encoder. ``size``, 32 by default, and ``classes``, 10 by default, are arguments of the engine.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("encoder", where, name, options, ("size", "classes"))
    size, classes = subject.arguments.get("size", 32), subject.arguments.get("classes", 10)

    def build() -> Any:
        return subject.build(size, classes)

    f = seeded(0, build)
    subject.require(isinstance(f, Encoder), "network-forward", f"it is a {type(f).__name__}, not a domtrans.Encoder")
    channels = getattr(f, "channels", None)
    subject.require(channels in range(1, MAX_CHANNELS + 1), "encoder-attributes", f"its ``channels`` is {channels}")
    shape = feature_shape_of(f)
    fits = len(shape) in (1, 3) and all(isinstance(length, int) and length > 0 for length in shape)
    subject.require(fits, "encoder-attributes", f"its ``feature_size`` is {shape[0] if len(shape) == 1 else list(shape)}")
    images = torch.rand(BATCH, f.channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    check_network(subject, build, images, shape)
    f.eval()
    features = f(images).detach().requires_grad_(True)
    if not f.heads:
        return
    logits = f.logits(features)
    fits = logits.ndim == 2 and len(logits) == BATCH and logits.shape[1] == sum(head_sizes(f.heads)) >= 2
    subject.require(fits, "encoder-head", f"its logits have the shape {list(logits.shape)}")
    check_gradient(subject, logits, features, "encoder-head", "its head")


def feature_shape_of(f: Encoder) -> tuple[Any, ...]:
    """What an encoder declares as the shape of its features; ``(None,)`` without a declaration."""
    with suppress(DomtransError):
        return tuple(f.feature_shape)
    return (None,)


def check_generator(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a generator against its contracts, for grey and RGB images.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the generator. ``feature_size``, 16 by default, ``channels``, by default both 1 and 3, and
            ``size``, 32 by default, are arguments of the engine. So are ``feature_shape`` of a generator that reads maps,
            (16, 8, 8) by default, and ``engine``, the DrawingEngine of a generator that draws by parameters.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("generator", where, name, options, ("feature_size", "feature_shape", "channels", "size", "engine"))
    engine = [subject.arguments["engine"]] if "engine" in subject.arguments else []
    size, shape = subject.arguments.get("size", 32), (subject.arguments.get("feature_size", 16),)
    if reads_maps(subject.entry.factory):
        shape = tuple(subject.arguments.get("feature_shape", (16, 8, 8)))
    features = shape if len(shape) == 3 else shape[0]
    for channels in [subject.arguments["channels"]] if "channels" in subject.arguments else [1, 3]:

        def build(channels: int = channels) -> Any:
            return subject.build(features, channels, size, *engine)

        g = seeded(0, build)
        subject.require(isinstance(g, Generator), "network-forward", f"it is a {type(g).__name__}, not a domtrans.Generator")
        read = (BATCH, 3, size, size) if g.reads_images else (BATCH, *shape)
        inputs = seeded(1, lambda read=read: torch.randn(read))  # type: ignore[misc]
        check_network(subject, build, inputs, (channels, size, size))
        for scale in (1.0, 100.0):
            images = g.train()(inputs * scale).detach()
            low, high = float(images.min()), float(images.max())
            subject.require(low >= -1 and high <= 1, "generator-range", f"its images have values from {low:.3g} to {high:.3g}")
        if g.draws_by_parameters:
            check_parameters(subject, g.eval(), inputs, engine[0].space.sizes)


def check_parameters(subject: Subject, g: Generator, features: Tensor, sizes: Sequence[int]) -> None:
    """Check the parameters of a generator that draws by them; ``sizes`` are the numbers of values of the engine's slots."""
    contract = "generator-parameters"
    with subject.works(contract, "it is asked for parameters"):
        logits, chosen = g.parameter_logits(features), g.parameter_indices(features)
        alone = torch.cat([g.parameter_indices(each) for each in features.split(1)])
    shapes = [list(slot.shape) for slot in logits]
    subject.require(shapes == [[len(features), size] for size in sizes], contract, f"its logits have the shapes {shapes}")
    fits = chosen.dtype == torch.int64 and list(chosen.shape) == [len(features), len(sizes)]
    within = fits and bool(((chosen >= 0) & (chosen < torch.tensor(sizes))).all())
    subject.require(within, contract, f"its indices are {chosen.tolist()}, and the slots have {list(sizes)} values")
    subject.require(torch.equal(chosen, alone), contract, "an image alone gets other parameters than in a batch")


def check_discriminator(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a discriminator against its contracts, for grey and RGB images.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the discriminator. ``channels``, by default both 1 and 3, and ``size``, 32 by default, are
            arguments of the engine.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("discriminator", where, name, options, ("channels", "size"))
    size = subject.arguments.get("size", 32)
    for channels in [subject.arguments["channels"]] if "channels" in subject.arguments else [1, 3]:

        def build(channels: int = channels) -> Any:
            return subject.build(channels, size)

        discriminator = seeded(0, build)
        what = f"it is a {type(discriminator).__name__}, not a domtrans.Discriminator"
        subject.require(isinstance(discriminator, Discriminator), "network-forward", what)
        images = torch.rand(BATCH, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
        shape = (3, *patches_of(discriminator, images))
        check_network(subject, build, images, shape)
        if discriminator.condition_classes:
            condition = torch.eye(discriminator.condition_classes)[torch.arange(BATCH) % discriminator.condition_classes]
            with subject.works("network-forward", f"it is called with {list(images.shape)} and a condition"):
                logits = discriminator.eval()(images, condition)
            check_result(subject, logits, (BATCH, *shape))


@torch.no_grad()
def patches_of(discriminator: Discriminator, images: Tensor) -> tuple[int, ...]:
    """Height and width in patches of what D judges; empty for a D of whole images, and for one that fails."""
    with suppress(Exception):  # check_network reports a D that fails
        found = seeded(2, lambda: copy.deepcopy(discriminator).eval()(images))
        return tuple(found.shape[2:]) if found.ndim == 4 else ()
    return ()


def check_network(subject: Subject, build: Callable[[], Any], inputs: Tensor, shape: tuple[int, ...]) -> None:
    """Check the contracts of every network; ``inputs`` is a batch, ``shape`` the shape of one result."""
    with subject.works("network-forward", f"it is called with {list(inputs.shape)}"):
        outputs = seeded(2, lambda: build().train()(inputs))
    check_result(subject, outputs, (len(inputs), *shape))
    network = seeded(0, build).eval()
    leaf = inputs.clone().requires_grad_(True)
    outputs = network.requires_grad_(False)(leaf)
    check_result(subject, outputs, (len(inputs), *shape))
    check_gradient(subject, outputs, leaf, "network-gradient", "the network")
    outputs = outputs.detach()
    check_eval(subject, network, inputs, outputs)
    again = seeded(0, build).eval()
    subject.require(alike(again(inputs), outputs), "network-initial", "two networks of the same seed give different results")
    if inputs.ndim == 4:
        with subject.works("network-layout", "it is called with a channels_last batch"):
            found = network(inputs.contiguous(memory_format=torch.channels_last))
        subject.require(alike(found, outputs), "network-layout", "a channels_last batch gives different results")
    with subject.works("network-autocast", "it is called under autocast"), torch.autocast("cpu", torch.bfloat16):
        found = network(inputs)
    subject.require(bool(torch.isfinite(found.float()).all()), "network-autocast", "its results are not finite")
    with subject.works("network-copy", "it is copied"):
        found = copy.deepcopy(network)(inputs)
    subject.require(alike(found, outputs), "network-copy", "its copy gives different results")
    check_saved(subject, network, seeded(3, build).eval(), inputs, outputs)
    check_devices(subject, network, inputs, outputs)


def check_result(subject: Subject, outputs: Any, shape: tuple[int, ...]) -> None:
    """Check that the outputs are finite float32 tensors of the shape."""
    subject.require(isinstance(outputs, Tensor), "network-forward", f"it returns a {type(outputs).__name__}, not a tensor")
    fits = tuple(outputs.shape) == shape and outputs.dtype == torch.float32
    found = f"it returns {outputs.dtype} {list(outputs.shape)}, not float32 {list(shape)}"
    subject.require(fits, "network-forward", found)
    subject.require(bool(torch.isfinite(outputs).all()), "network-forward", "its results are not finite")


def check_gradient(subject: Subject, outputs: Tensor, leaf: Tensor, contract: str, what: str) -> None:
    """Check that a finite, nonzero gradient reaches every item of the batch."""
    found = None
    if outputs.requires_grad:
        # Squared, so that a normalised output does not sum to a constant.
        (found,) = torch.autograd.grad(
            (outputs * torch.linspace(1, 2, outputs.numel()).view_as(outputs)).sum(), leaf, allow_unused=True
        )
    reached = found is not None and bool(torch.isfinite(found).all()) and bool((found.flatten(1).abs().sum(1) > 0).all())
    subject.require(reached, contract, f"no gradient reaches the input of {what}")


@torch.no_grad()
def check_eval(subject: Subject, network: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """Check that results are repeatable, independent of the batch, and change no state."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    subject.require(alike(network(inputs), outputs), "network-eval", "two calls give different results")
    with subject.works("network-eval", "it is called with a batch of one"):
        one = network(inputs[:1])
    independent = getattr(network, "compares_images", False) or alike(one, outputs[:1])
    subject.require(independent, "network-eval", "an item gives another result alone than in a batch")
    after = network.state_dict()
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    subject.require(not moved, "network-eval", f"a call changes its {', '.join(moved)}")


@torch.no_grad()
def check_saved(subject: Subject, network: nn.Module, other: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """Check that a safetensors file carries the weights into another network."""
    with tempfile.TemporaryDirectory() as folder, subject.works("network-saved", "it is saved and loaded"):
        path = Path(folder) / "weights.safetensors"
        write_tensors(path, network.state_dict(), {})
        other.load_state_dict(read_tensors(path)[0])
    subject.require(alike(other(inputs), outputs), "network-saved", "with its saved weights, it gives different results")


@torch.no_grad()
def check_devices(subject: Subject, network: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """Check that no tensor stays behind when the network moves to the meta device, and to a GPU if there is one."""
    moved = copy.deepcopy(network).to("meta")
    try:
        found = moved(inputs.to("meta"))
    except (NotImplementedError, RuntimeError) as fault:
        apart = "same device" in str(fault) or ("meta" in str(fault) and "cpu" in str(fault).lower())
        subject.require(not apart, "network-device", f"a tensor stays on the old device when it is moved: {str(fault)[:160]}")
    else:
        subject.require(found.is_meta, "network-device", "on another device, it returns a tensor on the old one")
    if torch.cuda.is_available():
        with subject.works("network-device", "it is moved to the GPU"):
            found = copy.deepcopy(network).cuda()(inputs.cuda())
        subject.require(found.is_cuda, "network-device", "on the GPU, it returns a tensor on the CPU")
        subject.require(alike(found.cpu(), outputs, 2e-2), "network-device", "on the GPU, it gives different results")


@torch.no_grad()
def alike(found: Tensor, wanted: Tensor, close: float = CLOSE) -> bool:
    """Whether two tensors are equal up to rounding."""
    if found.shape != wanted.shape:
        return False
    return float((found.float() - wanted.float()).abs().max()) <= close * max(1.0, float(wanted.abs().max()))
