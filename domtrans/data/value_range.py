"""What the values of an array mean: which is black and which is white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from domtrans.errors import DomtransError

ValueRange = tuple[float, float]
"""The values of black and white."""

BYTES, UNIT, SIGNED = (0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)
"""The ranges that are detected; any other range must be stated."""

STATED_OVERSHOOT = 0.15
"""How far values may lie outside a stated range, as a share of it. They are clipped."""
MIN_OF_BYTES = 16
"""Floats from 0 to 255 have at least one value of this size."""
MAX_ROUNDING = 0.2
"""Largest error of a value, in levels of 255, with which it still counts as a level."""
BLOCK = 1024
"""Images that are converted at a time."""
STATE_IN_DATA = '{"train": X, "value_range": (black, white)}'
"""How data from Python states its range."""


@dataclass(frozen=True)
class Evidence:
    """What the smallest and the largest value must show before a range counts as detected.

    Attributes:
        overshoot: How far values may lie outside their range after resampling, as a share of it.
        min_negative: Images in [-1, 1] have at least one value below this.
    """

    overshoot: float
    min_negative: float


WHOLE_SET = Evidence(overshoot=0.01, min_negative=-0.5)
FEW_IMAGES = Evidence(overshoot=0.15, min_negative=-0.15)


def to_bytes(
    data: Any,
    where: str,
    stated: ValueRange | None = None,
    dtype: torch.dtype | None = None,
    extremes: ValueRange | None = None,
    state: str = STATE_IN_DATA,
) -> tuple[Any, str]:
    """Images of any numeric type as uint8, 0 black and 255 white.

    Args:
        data: A tensor or an array whose first axis is the images.
        where: What the data is, for messages.
        stated: The values of black and white; None to detect them.
        dtype: The type that the values had originally.
        extremes: The smallest and the largest value originally.
        state: How to state the values of black and white, for messages.

    Returns:
        uint8 of the same shape, and a sentence about how the values were read; empty for uint8.

    Raises:
        DomtransError: If the range is not clear, or values lie outside.
    """
    values = data.detach().cpu() if isinstance(data, Tensor) else np.asarray(data)
    original = str(dtype or values.dtype).removeprefix("torch.")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biuf":
        raise DomtransError(f"the {where} must be numbers, not {values.dtype}")
    if isinstance(values, Tensor) and values.is_complex():
        raise DomtransError(f"the {where} must be real numbers, not {original}")
    low, high = extremes or (float(values.min()), float(values.max()))
    if not np.isfinite(low) or not np.isfinite(high):
        raise DomtransError(f"the {where} has values that are not finite; remove them")
    black, white = check_inside(stated, low, high, where) if stated else detect_range(original, low, high, where, state)
    if original == "uint8" and (black, white) == (0.0, 255.0):
        return values, ""
    result = np.empty(tuple(values.shape), np.uint8)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        block = block.double().numpy() if isinstance(block, Tensor) else block.astype(np.float64)
        scaled = (block - black) * (255 / (white - black))
        result[start : start + BLOCK] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    how = "given as" if stated else "read as"
    return result, f"{original} values from {low:.6g} to {high:.6g} were {how} {black:g} (black) to {white:g} (white)"


def detect_range(dtype: str, low: float, high: float, where: str, state: str = STATE_IN_DATA) -> ValueRange:
    """The values of black and white of a whole set of images.

    Args:
        dtype: The type, such as "float32".
        low: The smallest value.
        high: The largest value.
        where: What the data is, for messages.
        state: How to state the values of black and white, for messages.

    Raises:
        DomtransError: If the range is not clear, or the values are in no known range.
    """
    integers = "int" in dtype or dtype == "bool"
    found = _range_of_integers(dtype, low, high) if integers else _range_of_floats(low, high, WHOLE_SET)
    if found is None:
        has = f"the {where} has {dtype} values from {low:.6g} to {high:.6g}"
        if integers and low >= 0 and high <= 255:
            ranges = [*(["0 to 1"] if high <= 1 else []), "0 to 255", *(["0 to 65535"] if dtype == "uint16" else [])]
            readings = " or ".join([", ".join(ranges[:-1]), ranges[-1]])
            raise DomtransError(f"{has}, which can mean {readings}; say which values are black and white: {state}")
        known = "0 to 255" if integers else "0 to 1, -1 to 1 or 0 to 255"
        raise DomtransError(
            f"{has}, which are not clearly {known}; undo a normalisation, or say which values are black and white: {state}"
        )
    return found


def detect_range_of_few(
    images: Tensor, what: str = "the images", block: int = BLOCK, state: str = "value_range=({black}, {white})"
) -> ValueRange:
    """The values of black and white of some float images.

    Images without negative values may be bright images in [-1, 1]. If they were 8-bit images, their values show which: all
    multiples of 1/255 occur in [0, 1], and only the odd ones in [-1, 1].

    Args:
        images: [N, ...]; they may be mapped from a file.
        what: What the images are, for messages.
        block: Images that are in memory at a time.
        state: How to state the values ``{black}`` and ``{white}``, for messages.

    Raises:
        DomtransError: If the range is not clear.
    """
    extremes = torch.tensor([[float(value) for value in part.float().aminmax()] for part in images.split(block)])
    low, high = float(extremes[:, 0].min()), float(extremes[:, 1].max())  # NaN if an image has one
    has = f"{what} have {str(images.dtype).removeprefix('torch.')} values from {low:.4g} to {high:.4g}"
    if not np.isfinite(low) or not np.isfinite(high):
        raise DomtransError(f"{has}; replace the values that are not finite")
    found = _range_of_floats(low, high, FEW_IMAGES)
    if found is None:
        raise DomtransError(
            f"{has}, which are not clearly 0 to 1, -1 to 1 or 0 to 255; undo a normalisation, or say which values are black "
            f"and white: {state.format(black='black', white='white')}"
        )
    if found != UNIT:
        return found
    either = f"{state.format(black=0, white=1)} or {state.format(black=-1, white=1)}"
    rounding = min(MAX_ROUNDING, 510 * max(torch.finfo(images.dtype).eps, torch.finfo(torch.float32).eps))
    is_odd = True
    for part in images.split(block):
        levels = part.float() * 255
        if float((levels - levels.round()).abs().max()) > rounding:
            raise DomtransError(f"{has}, which can mean 0 to 1 or -1 to 1; say which: {either}")
        is_odd = is_odd and bool((levels.round() % 2 == 1).all())
    return SIGNED if is_odd else UNIT


def check_range(stated: Any, name: str) -> ValueRange:
    """The values of black and white that a user states. Raises DomtransError for anything else; ``name`` is what to call it."""
    try:
        black, white = (float(value) for value in stated)
    except (TypeError, ValueError):
        black = white = 0.0
    if not black < white:
        raise DomtransError(f"{name} must be the values of black and white, such as (0, 1), not {stated!r}")
    return black, white


def check_inside(stated: ValueRange, low: float, high: float, where: str) -> ValueRange:
    """The stated values of black and white. Raises DomtransError if the images, from ``low`` to ``high``, lie outside."""
    black, white = stated
    margin = STATED_OVERSHOOT * (white - black)
    if not (black - margin <= low <= high <= white + margin):  # also for NaN
        raise DomtransError(
            f"the {where} has values from {low:.6g} to {high:.6g}, outside the stated range from {black:g} to {white:g}"
        )
    return stated


def _range_of_floats(low: float, high: float, evidence: Evidence) -> ValueRange | None:
    """The first range that holds the values, if they tell."""
    margin = evidence.overshoot
    if low >= -margin and high <= 1 + margin:
        return UNIT
    if -1 - 2 * margin <= low <= evidence.min_negative and high <= 1 + 2 * margin:
        return SIGNED
    if low >= -255 * margin and MIN_OF_BYTES <= high <= 255 * (1 + margin):
        return BYTES
    return None


def _range_of_integers(dtype: str, low: float, high: float) -> ValueRange | None:
    if dtype == "bool":
        return 0.0, 1.0
    if dtype == "uint16" and high > 255:
        return 0.0, 65535.0
    if low >= 0 and high <= 255 and (high > 1 or (high == 0 and dtype == "uint8")) and dtype != "uint16":
        return 0.0, 255.0
    return None
