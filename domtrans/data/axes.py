"""What the axes of arrays of images mean, by their shape: N images, H rows, W columns, C channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor

from domtrans.errors import DomtransError

MAX_PICTURE_CHANNELS = 4
"""An array [H, W, C] with at most this many channels is one image, not a set [N, H, W] of very narrow grey ones."""


def image_axes(shape: Sequence[int], channels: Collection[int]) -> str | None:
    """The axes of one image: "HW", "HWC" or "CHW"; None for another shape. ``channels`` are the possible values of C."""
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3 and shape[2] in channels:
        return "HWC"
    return "CHW" if len(shape) == 3 and shape[0] in channels else None


def set_axes(shape: Sequence[int], channels: Collection[int], what: str, advice: str = "") -> str:
    """The axes of a set of images: "NHW", "NHWC" or "NCHW".

    Args:
        shape: The shape of the array.
        channels: The possible values of C.
        what: What the images are, for messages.
        advice: The end of the message about another shape.

    Raises:
        DomtransError: For another shape, and for one image [H, W, C].
    """
    shape = list(shape)
    axes = image_axes(shape[1:], channels)
    if axes is None:
        known = " or ".join(map(str, sorted(channels)))
        raise DomtransError(f"{what} must be [N, H, W], [N, H, W, {known}] or [N, {known}, H, W], not {shape}{advice}")
    if axes == "HW" and 0 < shape[2] <= MAX_PICTURE_CHANNELS < shape[1]:
        raise DomtransError(
            f"an array of shape {shape} is one image, not a set of grey images {shape[2]} pixels wide; give [N, H, W, C], "
            f"for one image {[1, *shape]}"
        )
    return f"N{axes}"


def channels_first(images: Tensor, axes: str) -> Tensor:
    """Images with these axes as [N, C, H, W]; one image becomes a set of one."""
    images = images if "N" in axes else images[None]
    if axes.endswith("C"):
        return images.movedim(-1, 1)
    return images if "C" in axes else images[:, None]
