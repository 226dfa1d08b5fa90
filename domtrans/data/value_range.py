"""What the values of an array mean: which is black and which is white."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from domtrans.errors import DomtransError

Range = tuple[float, float]
"""The values of black and white."""

TOLERANCE = 0.01
"""How far values may lie outside a range of length 1, as after resampling. They are clipped."""
OVERSHOOT = 0.15
"""The same for a stated range, as a share of it."""
MIN_NEGATIVE = -0.5
"""A set of images in [-1, 1] has at least one value below this."""
MIN_OF_255 = 16
"""A set of images in [0, 255] has at least one value above this."""
BLOCK = 1024
"""Images that are converted at a time."""


def to_bytes(
    data: Any, where: str, stated: Range | None = None, dtype: torch.dtype | None = None, extremes: Range | None = None
) -> tuple[Any, str]:
    """Images of any numeric type as uint8, 0 black and 255 white.

    Args:
        data: A tensor or an array whose first axis is the images.
        where: What the data is, for messages.
        stated: The values of black and white; None to detect them.
        dtype: The type that the values had originally.
        extremes: The smallest and the largest value originally.

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
    black, white = _check_stated(stated, low, high, where) if stated else detect_range(original, low, high, where)
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


def detect_range(dtype: str, low: float, high: float, where: str) -> Range:
    """The values of black and white.

    Args:
        dtype: The type, such as "float32".
        low: The smallest value.
        high: The largest value.
        where: What the data is, for messages.

    Raises:
        DomtransError: If the range is not clear, or the values are in no known range.
    """
    if "int" in dtype or dtype == "bool":
        found = _range_of_integers(dtype, low, high)
    elif low >= -TOLERANCE and high <= 1 + TOLERANCE:
        found = 0.0, 1.0
    elif -1 - TOLERANCE <= low <= MIN_NEGATIVE and high <= 1 + TOLERANCE:
        found = -1.0, 1.0
    elif low >= -TOLERANCE and MIN_OF_255 <= high <= 255 + TOLERANCE:
        found = 0.0, 255.0
    else:
        found = None
    if found is None:
        known = "0 to 255" if "int" in dtype else "0 to 1, -1 to 1 or 0 to 255"
        raise DomtransError(
            f"the {where} has {dtype} values from {low:.6g} to {high:.6g}, which are not clearly {known}; undo a "
            'normalisation, or say which values are black and white: {"train": X, "value_range": (black, white)}'
        )
    return found


def _range_of_integers(dtype: str, low: float, high: float) -> Range | None:
    if dtype == "bool":
        return 0.0, 1.0
    if dtype == "uint16" and high > 255:
        return 0.0, 65535.0
    if low >= 0 and high <= 255 and (high > 1 or (high == 0 and dtype == "uint8")) and dtype != "uint16":
        return 0.0, 255.0
    return None


def _check_stated(stated: Range, low: float, high: float, where: str) -> Range:
    black, white = stated
    margin = OVERSHOOT * (white - black)
    if low < black - margin or high > white + margin:
        raise DomtransError(
            f"the {where} has values from {low:.6g} to {high:.6g}, outside the stated range from {black:g} to {white:g}"
        )
    return stated
