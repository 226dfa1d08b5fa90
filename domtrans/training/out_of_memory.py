"""The out-of-memory guard: a step that does not fit into memory, and the batch size that would."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from domtrans.compute.compile import raise_if_not_compiled
from domtrans.compute.memory import is_out_of_memory
from domtrans.errors import DomtransError
from domtrans.training.trainer import Trainer


@contextmanager
def out_of_memory_guard(trainer: Trainer) -> Iterator[None]:
    """A block that runs a step. Raises DomtransError, naming a batch size that fits, if memory is short.

    Also raises DomtransError if a network that should be compiled cannot be.
    """
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            if trainer.config.compile:
                raise_if_not_compiled(error)
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the tensors of the failed step
    raise DomtransError(_advice(trainer))


def guarded_step(trainer: Trainer) -> dict[str, Tensor]:
    """One step inside ``out_of_memory_guard``, for callers other than the training loop."""
    with out_of_memory_guard(trainer):
        return trainer.step()


def largest_that_fits(trainer: Trainer, size: int) -> int:
    """The first of ``size`` / 2, / 4, ... images of which a step fits; 0 if none does. Ruins the trainer's state."""
    while size >= 4:
        size //= 2
        if trainer.session.device.type == "cuda":
            torch.cuda.empty_cache()
        trainer.set_micro_batch_size(size)
        try:
            trainer.step()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return size
    return 0


def _advice(trainer: Trainer) -> str:
    config, size, group = trainer.config, trainer.micro_batch_size, trainer.session.group
    failed = f"there is not enough memory for a step with train.batch_size={config.batch_size}, {size} images at a time"
    if group.size > 1:  # trying a step here would wait for the other processes
        parts = _accumulate(trainer, size // 2)
        return f"{failed} in each process; try train.accumulate={parts}, or a smaller train.batch_size"
    fits = largest_that_fits(trainer, size)
    if not fits:
        return f"{failed}, and not even for 2; choose smaller networks or a smaller image_size"
    return (
        f"{failed}; {fits} at a time fit, the most among its halves, quarters and so on; set "
        f"train.batch_size={fits * config.accumulate}, or train.accumulate={_accumulate(trainer, fits)} to take the same "
        "batch in smaller parts"
    )


def _accumulate(trainer: Trainer, size: int) -> int:
    """The fewest equal micro-batches of at most ``size`` images in every process."""
    batch, processes = trainer.config.batch_size, trainer.session.group.size
    share = batch // processes
    return next((parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= size), share)
