"""A step that does not fit into memory, and what would."""

from __future__ import annotations

import torch
from torch import Tensor

from domtrans.compute.compile import explain
from domtrans.compute.memory import lacking
from domtrans.errors import DomtransError
from domtrans.training.trainer import Trainer


def take_step(trainer: Trainer) -> dict[str, Tensor]:
    """One step of a trainer: its losses. Raises DomtransError, naming a batch that fits, if memory is short.

    And where a network that is to be compiled cannot be.
    """
    try:
        return trainer.step()
    except (MemoryError, RuntimeError) as error:
        if not lacking(error):
            if trainer.config.compile:
                explain(error)
            raise
    # Behind the block, where the exception is no more, and with it all that the failed step held.
    raise DomtransError(_advice(trainer))


def _advice(trainer: Trainer) -> str:
    config, size, group = trainer.config, trainer.part_size, trainer.session.group
    failed = f"there is not enough memory for a step with train.batch_size={config.batch_size}, {size} images at a time"
    if group.size > 1:  # a step tried here would wait for the others
        parts = _accumulate(trainer, size // 2)
        return f"{failed} in each process; try train.accumulate={parts}, or a smaller train.batch_size"
    fits = largest_that_fits(trainer, size)
    if not fits:
        return f"{failed}, and not even for 2; choose smaller networks or a smaller image_size"
    return (
        f"{failed}; of its halves, quarters and so on, tried just now, {fits} at a time is the most that fits: set "
        f"train.batch_size={fits * config.accumulate}, or train.accumulate={_accumulate(trainer, fits)} to take the same "
        "batch in smaller parts"
    )


def largest_that_fits(trainer: Trainer, size: int) -> int:
    """The first of ``size`` / 2, / 4, ... of which a step fits, 0 if none does. The trainer is of no use afterwards."""
    while size >= 4:
        size //= 2
        if trainer.session.device.type == "cuda":
            torch.cuda.empty_cache()
        trainer.cut(size)
        try:
            trainer.step()
        except (MemoryError, RuntimeError) as error:
            if not lacking(error):
                raise
        else:
            return size
    return 0


def _accumulate(trainer: Trainer, size: int) -> int:
    """The fewest equal parts of the batch that have at most ``size`` images in every process."""
    batch, processes = trainer.config.batch_size, trainer.session.group.size
    share = batch // processes
    return next((parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= size), share)
