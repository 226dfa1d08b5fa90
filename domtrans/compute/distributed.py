"""Several processes on one training, as torchrun starts them; torch.distributed is the engine (docs/distributed.md).

Each takes its share of every batch. Gradients, losses and batch-norm statistics are averaged over all of them before
anything comes of them, so that weights stay equal everywhere. The first process leads: it alone decides, writes and tells.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from domtrans.compute import torchrun
from domtrans.errors import DomtransError, Stopped

WITHIN_A_STEP = timedelta(minutes=10)
"""How long a process waits for the others' part of a sum. One that has ended is noticed at once, where it can be."""
FOR_THE_LEADER = timedelta(days=1)
"""How long the others wait while the first process fits f, saves or measures."""

Item = TypeVar("Item")

LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Timed out", "Broken pipe")
"""Words of torch when another process does not answer any more; it has no exception of its own for that everywhere."""


@dataclass(frozen=True)
class Group:
    """The processes of one training; a process alone is a group too, in which nothing is ever sent.

    ``control``: where the processes speak of what is not on a GPU, and wait for the first.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean of each tensor over all processes, in one message."""
        if self.size == 1 or not tensors:
            return list(tensors)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        return [part.view(tensor.shape) for part, tensor in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Of each flag, whether any process raised it. All wait here for all, also without a flag."""
        if self.size == 1:
            return flags
        votes = torch.tensor([0, *flags])
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self.control)
        return tuple(votes[1:].bool().tolist())

    def share(self, tensors: Mapping[str, Tensor] | None = None, *, giver: int = 0) -> Mapping[str, Tensor]:
        """One process's tensors, the first's by default, to all; on the CPU."""
        if self.size == 1:
            return tensors or {}
        plain = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in (tensors or {}).items()
        }
        content = torch.frombuffer(bytearray(save(plain)), dtype=torch.uint8)
        length = torch.tensor(len(content))
        dist.broadcast(length, giver, group=self.control)
        content = content if self.rank == giver else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, giver, group=self.control)
        return load(content.numpy().tobytes())

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of what all are to do: neighbours, so that ``gather`` has the results in order."""
        begin, end = (which * len(items) // self.size for which in (self.rank, self.rank + 1))
        return items[begin:end]

    def gather(self, blocks: Sequence[Tensor]) -> Tensor:
        """The blocks of all processes, in order, as one tensor on the CPU. Some processes may have none."""
        part = {"part": torch.cat(list(blocks)).cpu()} if blocks else {}
        if self.size == 1:
            return part["part"]
        parts = [self.share(part, giver=giver) for giver in range(self.size)]
        return torch.cat([each["part"] for each in parts if each])

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """A block that the others enter when the first process has left it: what that put into the cache they find there."""
        if not self.leads:
            self.any()
        yield
        if self.leads:
            self.any()

    def part_size(self, batch_size: int, accumulate: int) -> int:
        """How many images of a batch a process takes at a time. Raises DomtransError if the batch has no equal parts."""
        parts = accumulate * self.size
        if batch_size % parts or batch_size < 2 * parts:
            shared = f" over {self.size} processes" if self.size > 1 else ""
            raise DomtransError(
                f"train.batch_size={batch_size} cannot be cut into {parts} equal parts of at least 2 images "
                f"(train.accumulate={accumulate}{shared}); choose a multiple of {parts}, at least {2 * parts}"
            )
        return batch_size // parts

    def synchronise(self, network: nn.Module, device: torch.device) -> None:
        """Let the batch norm of a network see the shares of all processes as one batch.

        Raises DomtransError for a batch norm that is not torch's own.
        """
        if self.size == 1:
            return
        for name, module in network.named_modules():
            if isinstance(module, _BatchNorm) and not type(module).__module__.startswith("torch.nn."):
                raise DomtransError(
                    f"{name or 'the network'} is a batch norm of its own kind, {type(module).__name__}, which several "
                    "processes cannot share; train in one process, or use torch's own"
                )
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        for module in network.modules() if device.type != "cuda" else ():
            if isinstance(module, nn.SyncBatchNorm):
                module.__class__ = SharedBatchNorm  # the same parameters, buffers and options


ALONE = Group()


class SharedBatchNorm(nn.SyncBatchNorm):
    """torch's synchronised batch norm knows GPUs alone; this is the same on any device, for shares of one size."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] to the same, by the mean and variance over the B of all processes."""
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        count = dist.get_world_size() * input.numel() // input.shape[1]
        wide = input.float()
        mean = _Mean.apply(wide.mean(dims))
        centred = wide - mean.view(shape)
        variance = _Mean.apply(centred.square().mean(dims))
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), rate)
            self.running_var.lerp_(variance.detach() * count / max(count - 1, 1), rate)
        made = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            made = made * self.weight.view(shape) + self.bias.view(shape)
        return made.to(input.dtype)


class _Mean(torch.autograd.Function):
    """The mean over all processes. What each makes of it pulls on what every one put in."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _mean(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _mean(gradient)


def _mean(tensor: Tensor) -> Tensor:
    total = tensor.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def local_device(name: str) -> str:
    """The device of this process: under torchrun a GPU of its own for ``auto`` and ``cuda``.

    Raises DomtransError where the processes would get in one another's way, or there is no GPU for this one.
    """
    if torchrun.size() == 1:
        return name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cuda", "cpu"):
        raise DomtransError(f"several processes train on cpu or on cuda, where each takes a GPU of its own, not on '{name}'")
    if name == "cpu":
        return name
    here, there_are = torchrun.local_rank(), torch.cuda.device_count()
    if here >= there_are:
        raise DomtransError(
            f"there are {there_are} GPUs here and more processes than that; start torchrun with --nproc-per-node {there_are}"
        )
    return f"cuda:{here}"


@contextmanager
def joined(device: str, stop: threading.Event) -> Iterator[Group]:
    """A block in which the processes that torchrun started are one group; alone, a group of one.

    ``device``: as ``local_device`` gives it. Raises DomtransError in those that are left when one has ended, or Stopped if
    they were asked to stop.
    """
    if torchrun.size() == 1:
        yield ALONE
        return
    place = f"process {torchrun.rank() + 1} of {torchrun.size()}"
    try:
        group = _meet(torch.device(device))
    except (RuntimeError, ValueError) as error:
        raise DomtransError(f"{place} could not meet the others: {_reason(error)}; start them with torchrun") from error
    try:
        yield group
    except Exception as error:
        atexit.unregister(dist.destroy_process_group)  # it might wait for those that are gone
        if isinstance(error, DomtransError) and not group.leads:
            raise DomtransError(f"{place}: {error}") from error
        if not isinstance(error, RuntimeError) or not any(word in str(error) for word in LOST):
            raise
        sentence = (
            f"{place} lost touch with the others, so one of them has ended and says why, or was killed ({_reason(error)}); "
            "what was saved is intact, and the same command goes on from there"
        )
        raise (Stopped(sentence) if stop.is_set() else DomtransError(sentence)) from error


def _meet(device: torch.device) -> Group:
    """Join the others once; they stay together as long as the process lives."""
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=WITHIN_A_STEP)
        atexit.register(dist.destroy_process_group)
    return Group(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=FOR_THE_LEADER))


def _reason(error: BaseException) -> str:
    """What torch says, without the place in its source that it begins with, and without its advice."""
    words = " ".join(str(error).split())
    return words.rpartition(".cc:")[2].partition("] ")[2][:80] if ".cc:" in words else words[:200]
