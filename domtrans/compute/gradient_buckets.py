"""Gradients averaged over several processes while the backward pass still computes others.

As in torch's DistributedDataParallel (Li et al.: PyTorch Distributed, VLDB 2020), the parameters are divided into buckets in
the order in which a backward pass reaches them, the last layers first. As soon as all gradients of a bucket are complete, one
message adds them up over the processes, while the layers before them are differentiated.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

BUCKET_BYTES = 2**20
"""Gradients of a bucket, at most; a larger parameter has a bucket of its own. The networks here have a few megabytes."""


class GradientBuckets:
    """The gradients of some parameters, in buckets. All processes must have the same parameters.

    Args:
        parameters: The parameters, in the order of the forward pass.
        size: Number of processes.
        bucket_bytes: Bytes of a bucket, at most.
    """

    def __init__(self, parameters: Sequence[Tensor], size: int, bucket_bytes: int = BUCKET_BYTES) -> None:
        self.size = size
        self.buckets = list(in_buckets(list(reversed(parameters)), bucket_bytes))
        self.bucket_of = {parameter: k for k, bucket in enumerate(self.buckets) for parameter in bucket}
        self.begin()
        self.averaging = False
        """Whether the present backward pass is the last one of its batch, whose gradients are complete."""
        for parameter in parameters:
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._on_gradient)

    def begin(self) -> None:
        """Forget which gradients are complete."""
        self.missing, self.next = [len(bucket) for bucket in self.buckets], 0
        self.sent: list[tuple[list[Tensor], Tensor, dist.Work]] = []

    @contextmanager
    def last_backward(self) -> Iterator[None]:
        """A block with the last backward pass before ``average``, in which complete buckets are sent."""
        self.averaging = True
        try:
            yield
        finally:
            self.averaging = False

    def average(self) -> None:
        """Send what was not sent, wait for all messages, and replace every gradient by its mean over the processes."""
        while self.next < len(self.buckets):
            self._send()
        for gradients, flat, work in self.sent:
            work.wait()
            parts = flat.div_(self.size).split([gradient.numel() for gradient in gradients])
            torch._foreach_copy_(gradients, [part.view(own.shape) for part, own in zip(parts, gradients, strict=True)])
        self.begin()

    def _on_gradient(self, parameter: Tensor) -> None:
        """A gradient is complete: send its bucket if it was the last one, after the buckets before it."""
        if not self.averaging:
            return
        self.missing[self.bucket_of[parameter]] -= 1
        # Every process must send the buckets in the same order, so one waits for those before it.
        while self.next < len(self.buckets) and not self.missing[self.next]:
            self._send()

    @torch.no_grad()
    def _send(self) -> None:
        """Begin to add up the next bucket over the processes; parameters that got no gradient are left out."""
        gradients = [parameter.grad for parameter in self.buckets[self.next] if parameter.grad is not None]
        self.next += 1
        if gradients:
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            self.sent.append((gradients, flat, dist.all_reduce(flat, async_op=True)))


def in_buckets(parameters: Sequence[Tensor], bucket_bytes: int) -> Iterator[list[Tensor]]:
    """Divide parameters into buckets, in their order. The parameters of a bucket have one type and device."""
    for _, alike in itertools.groupby(parameters, lambda each: (each.dtype, each.device)):
        bucket, filled = list[Tensor](), 0
        for parameter in alike:
            if bucket and filled + parameter.nbytes > bucket_bytes:
                yield bucket
                bucket, filled = [], 0
            bucket.append(parameter)
            filled += parameter.nbytes
        yield bucket
