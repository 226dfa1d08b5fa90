"""Checks of losses and distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from domtrans.errors import DomtransError
from domtrans.interfaces import OUTPUT_FIELDS, PARAMETER_FIELDS, Loss, Outputs
from domtrans.testing.contracts import Subject, examine, seeded

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

JUDGED = frozenset(
    {
        "source_fake",
        "target_fake",
        "source_second_fake",
        "source_fake_parameters",
        "target_fake_parameters",
        "source_fake_logits",
        "target_fake_logits",
        "target_logits",
    }
)
"""Fields whose gradient a loss may have; features of fakes depend on the fakes."""

SLOTS = (3, 4)
"""The numbers of values of the two slots of the example parameters."""


@dataclass(frozen=True)
class ExampleDiscriminator:
    """A D for losses that call it. ``weights`` [pixels, 3] require gradients."""

    weights: Tensor

    def __call__(self, images: Tensor, domain: str) -> Tensor:
        """Images [B, C, H, W] to logits [B, 3]."""
        return torch.tanh(images.flatten(1)) @ self.weights


def example_outputs(*, batch: int = 4, channels: int = 3, size: int = 32, feature_size: int = 16, classes: int = 5) -> Outputs:
    """Return outputs with random values in every field of tensors; the fakes and logits require gradients."""
    rng = torch.Generator().manual_seed(0)

    def images() -> Tensor:
        return torch.rand(batch, channels, size, size, generator=rng) * 2 - 1

    def features_of(fakes: Tensor) -> Tensor:
        return torch.tanh(fakes.flatten(1) @ to_features)

    to_features = torch.randn(channels * size * size, feature_size, generator=rng) / size
    to_classes = torch.randn(feature_size, classes, generator=rng)
    source, target = images(), images()
    source_fake, target_fake = images().requires_grad_(True), images().requires_grad_(True)
    logits = [torch.randn(batch, 3, generator=rng).requires_grad_(True) for _ in range(3)]
    to_logits = torch.randn(channels * size * size, 3, generator=rng) / size
    source_parameters, target_parameters = (
        tuple(torch.randn(batch, values, generator=rng).requires_grad_(True) for values in SLOTS) for _ in range(2)
    )
    drawn = torch.stack([torch.arange(batch) % values for values in SLOTS], 1)
    drawn[-1, -1] = -1  # this slot does not show
    return Outputs(
        source=source,
        target=target,
        source_features=features_of(source),
        target_features=features_of(target),
        source_fake=source_fake,
        target_fake=target_fake,
        source_second_fake=(0.9 * source_fake.detach()).requires_grad_(True),
        source_fake_features=features_of(source_fake),
        target_fake_features=features_of(target_fake),
        source_fake_logits=logits[0],
        target_fake_logits=logits[1],
        target_logits=logits[2],
        source_fake_parameters=source_parameters,
        target_fake_parameters=target_parameters,
        target_parameters=drawn,
        source_labels=torch.arange(batch) % classes,
        discriminate=ExampleDiscriminator(to_logits.requires_grad_(True)),
        classify=lambda features: features @ to_classes,
    )


def check_loss(where: Any, name: str | None = None, /, *, outputs: Outputs | None = None, **options: Any) -> None:
    """Check a loss against its contracts: ``check_loss(registry, "mine", strength=2)`` or ``check_loss(Mine)``.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        outputs: What to call it with, for a loss that needs images of another size; see ``example_outputs``.
        options: Options of the loss.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("loss", where, name, options)
    loss = seeded(0, subject.build)
    subject.require(isinstance(loss, Loss), "loss-scalar", f"it is a {type(loss).__name__}, not a domtrans.Loss")
    reads = getattr(loss, "reads", None)
    known = isinstance(reads, frozenset | set) and bool(reads) and reads <= OUTPUT_FIELDS
    subject.require(known, "loss-reads", f"its ``reads`` is {reads!r}")
    assert reads is not None
    learning = [name for name, parameter in loss.named_parameters() if parameter.requires_grad]
    subject.require(not learning, "loss-parameters", f"its {', '.join(learning)} require gradients")
    whole = outputs or example_outputs()
    declared = only(whole, reads)
    before = {name: value.detach().clone() for name, value in tensors(declared).items()}
    with subject.works("loss-reads", "it gets only the fields that it declares"):
        value = loss(declared)
    check_scalar(subject, value, "loss-scalar")
    subject.require(torch.equal(loss(declared), value), "loss-scalar", "two calls return different numbers")
    changed = [name for name, tensor in tensors(declared).items() if not torch.equal(tensor, before[name])]
    subject.require(not changed, "loss-outputs", f"it changes {', '.join(changed)}")
    check_loss_gradient(subject, value, whole)
    for side, absent in (("source", "target"), ("target", "source")):
        half = only(declared, {field for field in reads if not field.startswith(absent)})
        if not tensors(half):
            continue
        try:
            with subject.works("loss-separate", f"it gets only the fields of the {side} domain"):
                check_scalar(subject, loss(half), "loss-separate")
        except DomtransError:
            pass
    if torch.cuda.is_available():
        with subject.works("loss-scalar", "it is moved to the GPU"):
            loss.cuda()(on_gpu(declared))


def check_loss_gradient(subject: Subject, value: Tensor, outputs: Outputs) -> None:
    """Check that the gradient is finite and reaches generated images, their parameters, or D by its logits or its weights."""
    leaves = list(tensors(only(outputs, JUDGED)).values())
    if isinstance(outputs.discriminate, ExampleDiscriminator):
        leaves.append(outputs.discriminate.weights)
    found = torch.autograd.grad(value, leaves, allow_unused=True) if value.requires_grad and leaves else ()
    reached = any(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in found)
    finite = all(gradient is None or bool(torch.isfinite(gradient).all()) for gradient in found)
    subject.require(reached, "loss-gradient", "its gradient reaches neither a generated image nor its parameters nor D")
    subject.require(finite, "loss-gradient", "its gradient is not finite")


def check_distance(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a distance against its contracts, on features and on images. It may refuse one of the two.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the distance. ``classes``, 5 by default, is not an option: it is the number of classes of f.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("distance", where, name, options, ("classes",))
    distance = subject.build()
    outputs = example_outputs(classes=subject.arguments.get("classes", 5))
    batches = (
        ("features", outputs.source_features, outputs.target_features, outputs.classify),
        ("images", outputs.source, outputs.target, None),
    )
    refused = []
    for what, a, second, classify in batches:
        assert a is not None and second is not None
        b = second.clone().requires_grad_(True)
        try:
            with subject.works("distance-scalar", f"it is called with {what}"):
                value, own = distance(a, b, classify), distance(a, a, classify)
        except DomtransError as reason:
            refused.append(str(reason))
            continue
        check_scalar(subject, value, "distance-scalar")
        least, other = own.item(), value.item()
        subject.require(least <= other + 1e-6, "distance-least", f"d(a, a) is {least:.4g}, d(a, b) {other:.4g}")
        found = torch.autograd.grad(value, b, allow_unused=True)[0] if value.requires_grad else None
        reached = found is not None and bool(found.abs().sum() > 0) and bool(torch.isfinite(found).all())
        subject.require(reached, "distance-gradient", "no gradient reaches its second argument")
    subject.require(len(refused) < len(batches), "distance-scalar", f"it supports neither features nor images: {refused}")


def check_scalar(subject: Subject, value: Any, contract: str) -> None:
    """Check that a value is one finite float."""
    subject.require(isinstance(value, Tensor), contract, f"it returns a {type(value).__name__}, not a tensor")
    single = value.ndim == 0 and value.is_floating_point()
    subject.require(single, contract, f"it returns {value.dtype} {list(value.shape)}, not one number")
    subject.require(bool(torch.isfinite(value)), contract, f"it returns {value.item()}")


def only(outputs: Outputs, names: set[str] | frozenset[str]) -> Outputs:
    """Return the outputs with only some fields; the others are None."""
    return Outputs(**{name: getattr(outputs, name) for name in names})


def tensors(outputs: Outputs) -> dict[str, Tensor]:
    """Return the tensors of the outputs by name; ``name[i]`` is one of a sequence."""
    found: dict[str, Any] = {}
    for name, value in vars(outputs).items():
        found |= {f"{name}[{i}]": item for i, item in enumerate(value)} if isinstance(value, Sequence) else {name: value}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def on_gpu(outputs: Outputs) -> Outputs:
    """Return the outputs with their tensors on the GPU; the head moves its input."""
    moved: dict[str, Any] = {}
    for name, value in vars(outputs).items():
        if isinstance(value, Tensor):
            moved[name] = value.cuda()
        elif name in PARAMETER_FIELDS and value is not None:
            moved[name] = tuple(logits.cuda() for logits in value)
    head, judge = outputs.classify, outputs.discriminate
    if head is not None:
        moved["classify"] = lambda features: head(features.cpu()).cuda()
    if judge is not None:
        moved["discriminate"] = lambda images, domain: judge(images.cpu(), domain).cuda()
    return replace(outputs, **moved)
