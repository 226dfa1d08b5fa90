"""Convolutions in the form that a CPU computes fastest. The results are the same up to rounding.

oneDNN's bfloat16 kernels are nearly as fast as a matrix product, except at the ends of image networks: where a feature vector
becomes a small image, where an image becomes a feature vector, and where an image has one or three channels. There, these
forms are 2 to 10 times as fast:

- A kernel as large as its whole input, or an input of one pixel, is a matrix product.
- A transposed convolution to few channels, which is also the gradient of an image that a convolution reads, is an ordinary
  convolution to the s x s pixels between two steps of stride s, then rearranged (sub-pixel convolution, Shi et al. 2016).
- The gradient of a kernel with few output pixels is a product of the output's gradient and the input windows.

The choice does not depend on the batch size, so that micro-batches give the same result as the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

MIN_CHANNELS = 4
"""A convolution to fewer channels takes the sub-pixel form."""
MAX_PIXELS = 16
"""A kernel with at most this many output pixels has its gradient computed as a product."""
WINDOW_BATCH_SIZE = 64
"""Images whose windows are copied at a time; they take a few megabytes."""


class FasterConvolutions(TorchFunctionMode):
    """A context in which the two-dimensional convolutions of any network take their fastest form, in ``dtype``."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch, in a faster form if there is one. torch calls this for each of its functions."""
        kwargs = kwargs or {}
        faster = FASTER_FORMS.get(func)
        result = faster(self.dtype, *args, **kwargs) if faster else None
        return func(*args, **kwargs) if result is None else result


def conv2d(
    dtype: torch.dtype,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """Compute ``torch.conv2d`` in a faster form; None if there is none. Arguments have torch's names: callers may use them."""
    s, p = same_on_both_axes(stride), same_on_both_axes(padding)
    if s is None or p is None or not is_plain(input, dilation, groups):
        return None
    x, w, b = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if p == 0 and x.shape[1:] == w.shape[1:]:
        return functional.linear(flatten_channels_last(x), flatten_channels_last(w), b)[:, :, None, None]
    return Convolution.apply(x, w, b, s, p) if torch.is_grad_enabled() and p < min(w.shape[2:]) else None


def conv_transpose2d(
    dtype: torch.dtype,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor | None:
    """Compute ``torch.conv_transpose2d`` in a faster form, likewise."""
    s, p = same_on_both_axes(stride), same_on_both_axes(padding)
    if s is None or p is None or same_on_both_axes(output_padding) != 0 or not is_plain(input, dilation, groups):
        return None
    x, w, b = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if p == 0 and x.shape[2:] == (1, 1):
        y = (x.flatten(1) @ flatten_channels_last(w)).unflatten(1, (*w.shape[2:], w.shape[1])).permute(0, 3, 1, 2)
        return y if b is None else y + b[:, None, None]
    return TransposedConvolution.apply(x, w, b, s, p)


FASTER_FORMS: dict[Any, Callable[..., Tensor | None]] = {torch.conv2d: conv2d, torch.conv_transpose2d: conv_transpose2d}


class Convolution(torch.autograd.Function):
    """``conv2d`` of [B, C, H, W] with a kernel [D, C, k, l]; its gradients take their fastest form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, s: int, p: int) -> Tensor:  # noqa: D102
        ctx.save_for_backward(x, w)
        ctx.s, ctx.p = s, p
        return torch.conv2d(x, w, b, s, p)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        (x, w), s, p = ctx.saved_tensors, ctx.s, ctx.p
        wanted = list(ctx.needs_input_grad[:3])
        image = sub_pixel_transposed(gradient, w, s, p, x.shape[2:]) if wanted[0] and w.shape[1] < MIN_CHANNELS else None
        kernel = weight_gradient(x, gradient, w, s, p) if wanted[1] and has_few_pixels(gradient) else None
        return *with_missing_gradients(gradient, x, w, s, p, wanted, image, kernel, transposed=False), None, None


class TransposedConvolution(torch.autograd.Function):
    """``conv_transpose2d`` of [B, D, H, W] with a kernel [D, C, k, l]; it and its gradients take their fastest form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, s: int, p: int) -> Tensor:  # noqa: D102
        ctx.save_for_backward(x, w)
        ctx.s, ctx.p = s, p
        if w.shape[1] >= MIN_CHANNELS:
            return torch.conv_transpose2d(x, w, b, s, p)
        size = [(many - 1) * s + kernel - 2 * p for many, kernel in zip(x.shape[2:], w.shape[2:], strict=True)]
        y = sub_pixel_transposed(x, w, s, p, size)
        return y if b is None else y + b[:, None, None]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        (x, w), s, p = ctx.saved_tensors, ctx.s, ctx.p
        wanted = list(ctx.needs_input_grad[:3])
        kernel = weight_gradient(gradient, x, w, s, p) if wanted[1] and has_few_pixels(x) else None
        return *with_missing_gradients(gradient, x, w, s, p, wanted, None, kernel, transposed=True), None, None


def with_missing_gradients(
    gradient: Tensor,
    x: Tensor,
    w: Tensor,
    s: int,
    p: int,
    wanted: list[bool],
    image: Tensor | None,
    kernel: Tensor | None,
    *,
    transposed: bool,
) -> tuple[Tensor | None, ...]:
    """Return the wanted gradients of image, kernel and bias. torch computes those that are still missing."""
    # torch computes the kernel's gradient on the way to the bias', so ask for both or for neither.
    missing = [wanted[0] and image is None, wanted[1] and kernel is None, wanted[2] and kernel is None]
    computed: tuple[Tensor | None, ...] = (None, None, None)
    if any(missing):
        computed = torch.ops.aten.convolution_backward(
            gradient, x, w, [gradient.shape[1]], [s, s], [p, p], [1, 1], transposed, [0, 0], 1, missing
        )
    bias = gradient.sum((0, 2, 3)) if wanted[2] and kernel is not None else computed[2]
    return computed[0] if image is None else image, computed[1] if kernel is None else kernel, bias


def sub_pixel_transposed(x: Tensor, w: Tensor, s: int, p: int, size: Any) -> Tensor:
    """Compute the transposed convolution of x [B, D, h, w] with a kernel [D, C, k, l]: [B, C, *size].

    Every s x s block of the result depends on the same few inputs. With s * s channels it is an ordinary convolution.
    """
    rows, columns = (-(-kernel // s) for kernel in w.shape[2:])
    w = functional.pad(w, (0, columns * s - w.shape[3], 0, rows * s - w.shape[2]))
    blocks = w.unflatten(3, (columns, s)).unflatten(2, (rows, s)).flip(2, 4)  # [D, C, rows, s, columns, s]
    kernel = blocks.permute(1, 3, 5, 0, 2, 4).flatten(0, 2).contiguous(memory_format=torch.channels_last)
    full = functional.pixel_shuffle(torch.conv2d(x, kernel, None, 1, (rows - 1, columns - 1)), s)
    down, right = (size[axis] + p - full.shape[2 + axis] for axis in (0, 1))
    return functional.pad(full, (-p, right, -p, down))


def weight_gradient(x: Tensor, gradient: Tensor, w: Tensor, s: int, p: int) -> Tensor:
    """Compute the gradient of the kernel w [D, C, k, l], for x [B, C, H, W] and outputs [B, D, h, w]; sums are in float32."""
    total = torch.zeros((), dtype=torch.promote_types(w.dtype, torch.float32))
    for images, outputs in zip(x.split(WINDOW_BATCH_SIZE), gradient.split(WINDOW_BATCH_SIZE), strict=True):
        padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, p, p, p, p))
        windows = padded.unfold(1, w.shape[2], s).unfold(2, w.shape[3], s).permute(0, 1, 2, 4, 5, 3)
        total = total + outputs.permute(0, 2, 3, 1).flatten(0, 2).t() @ windows.flatten(0, 2).flatten(1)
    return total.unflatten(1, (*w.shape[2:], w.shape[1])).permute(0, 3, 1, 2).to(w.dtype)


def has_few_pixels(outputs: Tensor) -> bool:
    """Return whether a kernel's gradient is faster as a product; measured on networks for images of 32 to 96 pixels."""
    return outputs.shape[2] * outputs.shape[3] <= MAX_PIXELS


def flatten_channels_last(x: Tensor) -> Tensor:
    """Flatten [B, C, H, W] to [B, H * W * C], without a copy in the channels_last layout."""
    return x.permute(0, 2, 3, 1).flatten(1)


def is_plain(images: Tensor, dilation: Any, groups: int) -> bool:
    """Return whether a convolution has a batch, no dilation and no groups; only these have a faster form here."""
    return images.ndim == 4 and groups == 1 and same_on_both_axes(dilation) == 1


def same_on_both_axes(value: Any) -> int | None:
    """Return the number for both axes if it is the same; None for anything else, such as "same"."""
    first, *others = value if isinstance(value, tuple | list) else (value,)
    return first if isinstance(first, int) and all(other == first for other in others) else None
