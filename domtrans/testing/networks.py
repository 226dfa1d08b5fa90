"""Checks of encoders, generators and discriminators."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from domtrans.interfaces import Discriminator, Encoder, Generator, head_sizes
from domtrans.storage.tensors import read_tensors, write_tensors
from domtrans.testing.contracts import Subject, examine, seeded

BATCH = 3
CLOSE = 1e-4
"""How far two ways to compute one thing may differ, relative to the largest value: kernels differ between layouts."""


def check_encoder(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check an encoder against its contracts: ``check_encoder(registry, "mine", width=8)`` or ``check_encoder(Mine)``.

    ``size`` (32) and ``classes`` (10) choose what the engine hands in; all else are options of the encoder.
    Raises AssertionError, quoting the contract, for the first that does not hold.
    """
    subject = examine("encoder", where, name, options, ("size", "classes"))
    size, classes = subject.handed.get("size", 32), subject.handed.get("classes", 10)

    def build() -> Any:
        return subject.build(size, classes)

    f = seeded(0, build)
    subject.require(isinstance(f, Encoder), "network-forward", f"it is a {type(f).__name__}, not a domtrans.Encoder")
    channels, length = getattr(f, "channels", None), getattr(f, "feature_size", None)
    subject.require(channels in (1, 3), "encoder-attributes", f"its channels are {channels}")
    subject.require(isinstance(length, int) and length > 0, "encoder-attributes", f"its feature_size is {length}")
    images = torch.rand(BATCH, f.channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    check_network(subject, build, images, (f.feature_size,))
    f.eval()
    features = f(images).detach().requires_grad_(True)
    if not f.heads:
        return
    logits = f.logits(features)
    fits = logits.ndim == 2 and len(logits) == BATCH and logits.shape[1] == sum(head_sizes(f.heads)) >= 2
    subject.require(fits, "encoder-head", f"its logits have the shape {list(logits.shape)}")
    check_gradient(subject, logits, features, "encoder-head", "its head")


def check_generator(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a generator against its contracts, for grey and RGB images.

    ``feature_size`` (16), ``channels`` (both) and ``size`` (32) choose what the engine hands in.
    Raises AssertionError, quoting the contract, for the first that does not hold.
    """
    subject = examine("generator", where, name, options, ("feature_size", "channels", "size"))
    length, size = subject.handed.get("feature_size", 16), subject.handed.get("size", 32)
    for channels in [subject.handed["channels"]] if "channels" in subject.handed else [1, 3]:

        def build(channels: int = channels) -> Any:
            return subject.build(length, channels, size)

        g = seeded(0, build)
        subject.require(isinstance(g, Generator), "network-forward", f"it is a {type(g).__name__}, not a domtrans.Generator")
        read = (BATCH, 3, size, size) if g.reads_images else (BATCH, length)
        inputs = seeded(1, lambda read=read: torch.randn(read))  # type: ignore[misc]
        check_network(subject, build, inputs, (channels, size, size))
        for scale in (1.0, 100.0):
            images = g.train()(inputs * scale).detach()
            low, high = float(images.min()), float(images.max())
            subject.require(low >= -1 and high <= 1, "generator-range", f"its images run from {low:.3g} to {high:.3g}")


def check_discriminator(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a discriminator against its contracts, for grey and RGB images.

    ``channels`` (both) and ``size`` (32) choose what the engine hands in.
    Raises AssertionError, quoting the contract, for the first that does not hold.
    """
    subject = examine("discriminator", where, name, options, ("channels", "size"))
    size = subject.handed.get("size", 32)
    for channels in [subject.handed["channels"]] if "channels" in subject.handed else [1, 3]:

        def build(channels: int = channels) -> Any:
            return subject.build(channels, size)

        judge = seeded(0, build)
        what = f"it is a {type(judge).__name__}, not a domtrans.Discriminator"
        subject.require(isinstance(judge, Discriminator), "network-forward", what)
        images = torch.rand(BATCH, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
        check_network(subject, build, images, (3,))
        if judge.condition_classes:
            told = torch.eye(judge.condition_classes)[torch.arange(BATCH) % judge.condition_classes]
            with subject.works("network-forward", f"called with {list(images.shape)} and classes {list(told.shape)}"):
                judged = judge.eval()(images, told)
            check_result(subject, judged, (BATCH, 3))


def check_network(subject: Subject, build: Callable[[], Any], inputs: Tensor, shape: tuple[int, ...]) -> None:
    """What holds for every network; ``inputs`` is a batch, ``shape`` what one item becomes."""
    with subject.works("network-forward", f"called with {list(inputs.shape)}"):
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
    subject.require(alike(again(inputs), outputs), "network-initial", "built twice under one seed, it gives other results")
    if inputs.ndim == 4:
        with subject.works("network-layout", "called with a channels_last batch"):
            found = network(inputs.contiguous(memory_format=torch.channels_last))
        subject.require(alike(found, outputs), "network-layout", "a channels_last batch gives other results")
    with subject.works("network-autocast", "called under autocast"), torch.autocast("cpu", torch.bfloat16):
        found = network(inputs)
    subject.require(bool(torch.isfinite(found.float()).all()), "network-autocast", "its results are not finite")
    with subject.works("network-copy", "copied"):
        found = copy.deepcopy(network)(inputs)
    subject.require(alike(found, outputs), "network-copy", "its copy gives other results")
    check_saved(subject, network, seeded(3, build).eval(), inputs, outputs)
    check_devices(subject, network, inputs, outputs)


def check_result(subject: Subject, outputs: Any, shape: tuple[int, ...]) -> None:
    """Float32, finite, and of the shape."""
    subject.require(isinstance(outputs, Tensor), "network-forward", f"it gives a {type(outputs).__name__}, not a tensor")
    fits = tuple(outputs.shape) == shape and outputs.dtype == torch.float32
    found = f"it gives {outputs.dtype} {list(outputs.shape)} where float32 {list(shape)} is asked for"
    subject.require(fits, "network-forward", found)
    subject.require(bool(torch.isfinite(outputs).all()), "network-forward", "its results are not finite numbers")


def check_gradient(subject: Subject, outputs: Tensor, leaf: Tensor, contract: str, what: str) -> None:
    """A finite gradient that is not zero reaches every item of the batch."""
    found = None
    if outputs.requires_grad:
        # Squared, so that a normalised output does not sum to a constant.
        (found,) = torch.autograd.grad(
            (outputs * torch.linspace(1, 2, outputs.numel()).view_as(outputs)).sum(), leaf, allow_unused=True
        )
    reached = found is not None and bool(torch.isfinite(found).all()) and bool((found.flatten(1).abs().sum(1) > 0).all())
    subject.require(reached, contract, f"no gradient comes through {what} to its input")


@torch.no_grad()
def check_eval(subject: Subject, network: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """The same each time, item by item, with no change of state."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    subject.require(alike(network(inputs), outputs), "network-eval", "called twice, it gives two results")
    with subject.works("network-eval", "called with a batch of one"):
        one = network(inputs[:1])
    subject.require(alike(one, outputs[:1]), "network-eval", "an item alone gives another result than in a batch")
    after = network.state_dict()
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    subject.require(not moved, "network-eval", f"calling it changes its {', '.join(moved)}")


@torch.no_grad()
def check_saved(subject: Subject, network: nn.Module, other: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """Through a safetensors file into a network with other weights."""
    with tempfile.TemporaryDirectory() as folder, subject.works("network-saved", "saved and loaded"):
        path = Path(folder) / "weights.safetensors"
        write_tensors(path, network.state_dict(), {})
        other.load_state_dict(read_tensors(path)[0])
    subject.require(alike(other(inputs), outputs), "network-saved", "loaded from its own weights, it gives other results")


@torch.no_grad()
def check_devices(subject: Subject, network: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """On a GPU where there is one; on any machine, no tensor stays behind when the network goes to the meta device."""
    moved = copy.deepcopy(network).to("meta")
    try:
        found = moved(inputs.to("meta"))
    except (NotImplementedError, RuntimeError) as fault:
        apart = "same device" in str(fault) or ("meta" in str(fault) and "cpu" in str(fault).lower())
        subject.require(not apart, "network-device", f"a tensor stays behind when it is moved: {str(fault)[:160]}")
    else:
        subject.require(found.is_meta, "network-device", "moved to another device, it gives a tensor on the old one")
    if torch.cuda.is_available():
        with subject.works("network-device", "moved to the GPU"):
            found = copy.deepcopy(network).cuda()(inputs.cuda())
        subject.require(found.is_cuda, "network-device", "on the GPU it gives a tensor on the CPU")
        subject.require(alike(found.cpu(), outputs, 2e-2), "network-device", "on the GPU it gives other results")


@torch.no_grad()
def alike(found: Tensor, wanted: Tensor, close: float = CLOSE) -> bool:
    """Equal but for rounding."""
    if found.shape != wanted.shape:
        return False
    return float((found.float() - wanted.float()).abs().max()) <= close * max(1.0, float(wanted.abs().max()))
