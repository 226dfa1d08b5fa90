"""The metric ``variety``: how much the transfers of one image differ, of a g that reads noise."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from domtrans import (
    AugmentationOption,
    DomtransError,
    EncoderOption,
    ImageSet,
    MetricInput,
    MetricValue,
    NotMeasurableError,
    Transfer,
    predict,
    set_variant,
    spread,
    to_float,
)
from domtrans_dtn.metrics import MILD_VIEW, feature_network

VALUES = (
    MetricValue("variety", "variety"),
    MetricValue("pixel_variety", "variety of pixels"),
)


def variety(
    inputs: MetricInput,
    *,
    variants: Annotated[int, Field(ge=2, le=100)] = 5,
    images: PositiveInt = 200,
    encoder: EncoderOption | None = None,
    steps: PositiveInt = 400,
    batch_size: PositiveInt = 64,
    view: AugmentationOption = MILD_VIEW,
) -> dict[str, float | int]:
    """How much the transfers of one image with different noise z differ, compared with real target images. No labels are read.

    It is 0 if g ignores z. What G(x) keeps of x, such as the class, is the same in all transfers of x, so good values lie
    below 1.

    Args:
        variants: Transfers of each image.
        images: Source test images, at most, evenly spread.
        encoder: Network whose features are used, with its published weights, e.g. timm. It must not be the run's f. By
            default the small network of ``image-realism``, fitted on the target's training images to tell quarter turns.
        steps: Steps of fitting that network.
        batch_size: Images per step.
        view: Augmentation while it is fitted.

    Returns:
        - ``variety``: mean distance of the features of two transfers of one image over that of two real target test images
        - ``pixel_variety``: the same for the pixels themselves
        - ``n``: number of source images

    Raises:
        NotMeasurableError: If g reads no noise, or there are fewer than two target test images.
    """
    real, source = inputs.target_test, inputs.source.some(images)
    if len(real) < 2:
        raise NotMeasurableError("variety needs two target test images to compare with")
    transfers = [transferred(inputs, source, number) for number in range(1, variants + 1)]
    extract = feature_network(inputs, encoder, steps=steps, batch_size=batch_size, view=view)
    results: dict[str, float | int] = {
        "variety": relative_spread([predict(extract, each, inputs.session) for each in (real, *transfers)]),
        "pixel_variety": relative_spread([to_float(each.images).flatten(1) for each in (real, *transfers)]),
    }
    return results | {"n": len(source)}


def relative_spread(vectors: list[Tensor]) -> float:
    """The mean distance of transfers of one image over that of two real ones.

    Args:
        vectors: Of the real images, [M, D]; then of every variant of all images, [N, D] each.
    """
    real, *variants = vectors
    within = [spread(of_one) for of_one in torch.stack(variants, 1)]
    return round(sum(within) / len(within) / max(spread(real), 1e-6), 5)


def transferred(inputs: MetricInput, source: ImageSet, number: int) -> ImageSet:
    """G of the images as another variant. The transfer that is measured stays as it is."""
    transfer: Transfer = copy.deepcopy(inputs.transfer)
    try:
        set_variant(transfer.generator, number)
    except DomtransError as error:
        raise NotMeasurableError(str(error)) from None
    session = inputs.session
    return ImageSet(transfer.apply_to(source, group=session.group, on_batch=lambda *_: session.raise_if_stopped()))
