"""Training in several processes that torchrun or srun started, with torch.distributed (docs/distributed.md).

Each process takes its part of every batch. Gradients, losses and batch-norm statistics are averaged over all processes
before they are used, so all processes keep the same weights. Only the main process decides, writes files and prints.
"""

from __future__ import annotations

import atexit
import itertools
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
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm

from domtrans.compute import launcher
from domtrans.compute.notices import FAILED, STOPPED, Notices
from domtrans.errors import DomtransError, LostProcessError, Stopped

STEP_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others in a training step. Most backends notice a process that ended at once."""
MAIN_PROCESS_TIMEOUT = timedelta(days=1)
"""How long the others wait while the main process trains f, saves or evaluates."""

JOIN_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others at the start."""

LOST_PEER_MESSAGES = ("gloo", "NCCL", "Connection closed", "Connection reset", "Timed out", "Broken pipe")
"""Substrings of torch's error messages for a lost process; torch has no dedicated exception on every backend."""

Item = TypeVar("Item")

_stores: list[Store] = []
"""The store through which this process met the others, once it has."""
_groups = itertools.count()
"""Numbers the groups of this process. All processes form the same ones, in the same order."""


@dataclass(frozen=True)
class Group:
    """The processes of one training. A single process is a group of size 1, which communicates nothing.

    Args:
        rank: Number of this process; 0 is the main process.
        size: Number of processes.
        control: Process group for tensors on the CPU, with a timeout long enough to wait for the main process.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, that of rank 0."""
        return self.rank == 0

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Average each tensor over all processes, in one message."""
        if self.size == 1 or not tensors:
            return list(tensors)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        return [part.view(tensor.shape) for part, tensor in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]

    def any_of(self, **flags: bool) -> tuple[bool, ...]:
        """Return for each flag, in the order given, whether any process set it. All processes must pass the same names."""
        if self.size == 1:
            return tuple(flags.values())
        names = sorted(flags)
        votes = torch.tensor([flags[name] for name in names], dtype=torch.int64)
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self.control)
        result = dict(zip(names, votes.bool().tolist(), strict=True))
        return tuple(result[name] for name in flags)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier(self.control)

    def broadcast(self, tensors: Mapping[str, Tensor] | None = None, *, source: int = 0) -> Mapping[str, Tensor]:
        """Send the tensors of process ``source`` to all processes; returns them, on the CPU if there are several processes."""
        if self.size == 1:
            return tensors or {}
        plain = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in (tensors or {}).items()
        }
        content = torch.frombuffer(bytearray(save(plain)), dtype=torch.uint8)
        length = torch.tensor(len(content))
        dist.broadcast(length, source, group=self.control)
        content = content if self.rank == source else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, source, group=self.control)
        return load(content.numpy().tobytes())

    def my_part(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the consecutive items that this process works on; ``all_gather`` puts the results back in order."""
        begin, end = (which * len(items) // self.size for which in (self.rank, self.rank + 1))
        return items[begin:end]

    def all_gather(self, blocks: Sequence[Tensor]) -> Tensor:
        """Concatenate the blocks of all processes, in order of rank, on the CPU. Some processes may have no blocks."""
        part = {"part": torch.cat(list(blocks)).cpu()} if blocks else {}
        if self.size == 1:
            return part["part"]
        parts = [self.broadcast(part, source=source) for source in range(self.size)]
        return torch.cat([each["part"] for each in parts if each])

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Run a block in the main process first, then in the others, which can read from the cache what it wrote."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    def micro_batch_size(self, batch_size: int, accumulate: int) -> int:
        """Return how many images of a batch one process takes at a time.

        Raises:
            DomtransError: If the batch cannot be split into equal parts of at least 2 images.
        """
        parts = accumulate * self.size
        if batch_size % parts or batch_size < 2 * parts:
            processes = f" over {self.size} processes" if self.size > 1 else ""
            raise DomtransError(
                f"train.batch_size={batch_size} cannot be split into {parts} equal parts of at least 2 images "
                f"(train.accumulate={accumulate}{processes}); choose a multiple of {parts}, at least {2 * parts}"
            )
        return batch_size // parts

    def sync_batch_norm(self, network: nn.Module, device: torch.device) -> None:
        """Make every batch norm of a network use the statistics of the whole batch, over all processes.

        Raises:
            DomtransError: If a batch norm is not one of torch's own classes.
        """
        if self.size == 1:
            return
        norms = [(name, module) for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
        for name, norm in norms:
            if not type(norm).__module__.startswith("torch.nn."):
                raise DomtransError(
                    f"{name or 'the network'} is a custom batch norm, {type(norm).__name__}, which several processes "
                    "cannot share; train in one process, or use torch's own"
                )
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return
        for name, norm in norms:
            if name:
                network.set_submodule(name, SharedBatchNorm.from_batch_norm(norm))


SINGLE_PROCESS = Group()


class SharedBatchNorm(nn.SyncBatchNorm):
    """torch's SyncBatchNorm runs on GPUs only; this one runs on any device, if all processes have parts of one size."""

    @classmethod
    def from_batch_norm(cls, norm: _BatchNorm) -> SharedBatchNorm:
        """Build one with the options of a batch norm and the very same parameters and buffers."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
            setattr(shared, name, tensor)
        shared.train(norm.training)
        return shared

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C, ...] by the mean and variance over the B of all processes."""
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
        output = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)


class _Mean(torch.autograd.Function):
    """The mean over all processes, with the mean of their gradients as the gradient."""

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
    """Return the device of this process: of several, ``auto`` and ``cuda`` become one GPU for each process.

    Raises:
        DomtransError: If several processes would use one device, or there is no GPU for this process.
    """
    if launcher.size() == 1:
        return name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cuda", "cpu"):
        raise DomtransError(f"several processes train on cpu, or on cuda with one GPU each, not on '{name}'")
    if name == "cpu":
        return name
    gpu, gpus = launcher.gpu(), torch.cuda.device_count()
    if gpu >= gpus:
        option = f"{launcher.name()} with {launcher.processes_option()} {gpus}"
        raise DomtransError(f"there are more processes here than GPUs ({gpus}); start {option}")
    return f"cuda:{gpu}"


@contextmanager
def process_group(device: str, stop: threading.Event) -> Iterator[Group]:
    """Run a block in one group of all processes that torchrun or srun started; of a single process, in a group of one.

    Args:
        device: As ``local_device`` returns it.
        stop: Set in every process once it is set in one.

    Raises:
        LostProcessError: In the remaining processes, if one was killed or lost.
        DomtransError: In the remaining processes, if one has failed.
        Stopped: Likewise, if they were asked to stop.
    """
    if launcher.size() == 1:
        yield SINGLE_PROCESS
        return
    place = f"process {launcher.rank() + 1} of {launcher.size()}"
    try:
        group, store = _join(torch.device(device))
    except ValueError as error:
        raise DomtransError(f"{place} cannot connect to the others: {_reason(error)}; start them with torchrun") from error
    except RuntimeError as error:
        raise LostProcessError(
            f"{place} cannot connect to the others: {_reason(error)}; the same command tries again"
        ) from error
    notices = Notices(store, group.rank, group.size, stop)
    try:
        yield group
    except Exception as error:
        atexit.unregister(dist.destroy_process_group)  # it could wait for processes that have ended
        if not isinstance(error, RuntimeError) or not any(words in str(error) for words in LOST_PEER_MESSAGES):
            notices.leave(STOPPED if isinstance(error, Stopped) else FAILED)
            if isinstance(error, DomtransError) and not group.is_main:
                raise DomtransError(f"{place}: {error}") from error
            raise
        if notices.notice == FAILED:
            raise DomtransError(f"{place} ends because another process failed, which printed its own error") from error
        sentence = (
            f"{place} lost the connection to another process, which printed its own error or was killed ({_reason(error)}); "
            "everything saved so far is intact, and the same command continues from there"
        )
        raise (Stopped if stop.is_set() else LostProcessError)(sentence) from error
    finally:
        notices.close()


def _join(device: torch.device) -> tuple[Group, Store]:
    """Connect to the other processes, once in the life of this process. Returns the group, and a store for its notices."""
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        rank, size = launcher.rank(), launcher.size()
        store, _, _ = next(rendezvous(launcher.init_method(), rank, size, timeout=JOIN_TIMEOUT))
        # torchrun may keep its store when it restarts the processes; their new addresses must not mix with the old ones.
        store = PrefixStore(f"attempt/{launcher.attempt()}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP_TIMEOUT)
        atexit.register(dist.destroy_process_group)
        _stores.append(store)
    group = Group(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=MAIN_PROCESS_TIMEOUT))
    return group, PrefixStore(f"domtrans/{next(_groups)}", _stores[0])


def _reason(error: BaseException) -> str:
    """Return torch's error message without its source location and advice."""
    words = " ".join(str(error).split())
    return words.rpartition(".cc:")[2].partition("] ")[2][:80] if ".cc:" in words else words[:200]
