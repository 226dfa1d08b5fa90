"""The image metrics of torchmetrics, by the names of their classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from domtrans import DomtransError, ImageSet, MetricInput, did_you_mean, reason_of, seeded, to_channels

BATCH_SIZE = 64

Pairs = Literal["target", "source"]
Values = Literal["unit", "signed", "uint8"]


def torchmetrics_metric(
    inputs: MetricInput,
    *,
    metric: str,
    arguments: dict[str, Any] | None = None,
    pairs: Pairs = "target",
    values: Values = "unit",
    key: str = "",
) -> dict[str, float]:
    """A metric of torchmetrics.image.

    A metric that compares distributions, such as FrechetInceptionDistance, compares G(x) with real target test images. One that
    compares images in pairs, such as LearnedPerceptualImagePatchSimilarity, gets the pairs of ``pairs``. One that takes images
    alone, such as TotalVariation, gets G(x). Images are RGB. Some metrics need further libraries or download a network;
    torchmetrics says so.

    Args:
        metric: Name of a class in ``torchmetrics.image``.
        arguments: Arguments of its constructor, by name.
        pairs: For a metric of pairs. target: G(t) with the target image t, as in L_TID. source: G(x) with the source image x.
        values: What the metric expects: floats in [0, 1] (unit) or [-1, 1] (signed), or uint8.
        key: Name of the value in the results; by default that of the class, with underscores.

    Returns:
        The value, and for a metric of several values one for each: ``KEY_mean`` and ``KEY_std``, or ``KEY_NAME``.
    """
    computed = build(metric, arguments or {}).to(inputs.session.device)
    parameters = inspect.signature(computed.update).parameters
    with seeded(0):  # some metrics draw subsets
        if "real" in parameters:
            for images in batches(inputs.target_test, values, inputs):
                computed.update(images, real=True)
            for images in batches(inputs.transferred, values, inputs):
                computed.update(images, real=False)
        elif len([one for one in parameters.values() if one.default is inspect.Parameter.empty]) == 1:
            for images in batches(inputs.transferred, values, inputs):
                computed.update(images)
        else:
            original = inputs.source if pairs == "source" else inputs.target_test
            made = inputs.transferred if pairs == "source" else transferred(inputs, inputs.target_test)
            for output, image in zip(batches(made, values, inputs), batches(original, values, inputs), strict=True):
                computed.update(output, image)
        try:
            value = computed.compute()
        except Exception as error:  # noqa: BLE001 - e.g. too few images
            raise DomtransError(f"torchmetrics cannot compute {metric}: {reason_of(error)}") from None
    return dict(named(key or in_snake_case(metric), value))


def build(name: str, arguments: dict[str, Any]) -> Any:
    """The metric of torchmetrics with that name.

    Raises:
        DomtransError: If there is none, its arguments are wrong, or it needs a library that is not installed.
    """
    import torchmetrics
    import torchmetrics.image

    known = [key for key in torchmetrics.image.__all__ if _is_metric(getattr(torchmetrics.image, key), torchmetrics.Metric)]
    if name not in known:
        hint = did_you_mean(name, known, "metrics")
        raise DomtransError(f"torchmetrics.image has no metric '{name}'{hint}; it may need a library that is not installed")
    try:
        return getattr(torchmetrics.image, name)(**arguments)
    except Exception as error:  # noqa: BLE001 - a constructor raises what it likes
        raise DomtransError(f"torchmetrics' {name} cannot be built from these arguments: {reason_of(error)}") from None


def batches(images: ImageSet, values: Values, inputs: MetricInput) -> Iterator[Tensor]:
    """RGB images of a set, in batches on the device, in the range that the metric expects."""
    for start in range(0, len(images), BATCH_SIZE):
        batch = images.batch(torch.arange(start, min(start + BATCH_SIZE, len(images)))).to(inputs.session.device)
        batch = to_channels(batch, 3)
        if values == "uint8":
            yield batch
        else:
            yield batch.float() / 255 if values == "unit" else batch.float() / 127.5 - 1


def transferred(inputs: MetricInput, images: ImageSet) -> ImageSet:
    """G of target images."""
    return ImageSet(inputs.transfer.apply_to(images, group=inputs.session.group))


def named(key: str, value: Any) -> Iterator[tuple[str, float]]:
    """What ``compute`` returned, as named numbers."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from named(f"{key}_{name}", item)
    elif isinstance(value, tuple | list):
        names = ("mean", "std") if len(value) == 2 else range(1, len(value) + 1)
        for name, item in zip(names, value, strict=True):
            yield from named(f"{key}_{name}", item)
    else:
        yield key, float(value.float().mean()) if isinstance(value, Tensor) else float(value)


def in_snake_case(name: str) -> str:
    """``StructuralSimilarity`` as ``structural_similarity``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _is_metric(thing: Any, base: type) -> bool:
    return inspect.isclass(thing) and issubclass(thing, base)
