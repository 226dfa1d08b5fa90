"""The out-of-memory guard: a step that does not fit into memory, and the batch size that would."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from domtrans.compute.compile import raise_if_not_compiled
from domtrans.compute.memory import available_memory, is_out_of_memory
from domtrans.compute.seeding import seeded
from domtrans.errors import DomtransError
from domtrans.training.trainer import Trainer

SAFE_SHARE = 0.8
"""Share of the available memory that the advice uses: losses, gradients and the encoder need some as well."""


def check_memory(trainer: Trainer) -> None:
    """Raise DomtransError if a step on a CPU cannot fit into memory, before the kernel kills the process.

    The estimate is a lower bound: what g and D keep for the backward pass. A GPU raises an error of its own.
    """
    if trainer.session.device.type != "cpu" or trainer.session.group.size > 1:
        return
    per_image, available, size = bytes_per_image(trainer), available_memory(), trainer.micro_batch_size
    if per_image * size <= available:
        return
    fits = int(SAFE_SHARE * available / per_image)
    config = trainer.config
    failed = (
        f"a step with train.batch_size={config.batch_size}, {size} images at a time, needs at least "
        f"{per_image * size / 2**30:,.1f} GiB of memory, and {available / 2**30:,.1f} GiB are available"
    )
    if fits < 2:
        raise DomtransError(f"{failed}; choose smaller networks or a smaller image_size")
    fits = 2 ** (fits.bit_length() - 1)
    raise DomtransError(
        f"{failed}; set train.batch_size={fits * config.accumulate}, or train.accumulate={_accumulate(trainer, fits)} to "
        "compute the same batch in smaller parts"
    )


def bytes_per_image(trainer: Trainer) -> float:
    """Bytes that a step keeps per image of each domain, measured on copies of g and D; 0 if they cannot be copied or run."""
    with suppress(Exception), seeded(0):  # a network of a plugin may fail here; then there is no estimate
        g, discriminator = copy.deepcopy((trainer.g, trainer.D))
        discriminator.requires_grad_(True)  # an update of g leaves D frozen, and a frozen network keeps nothing
        channels, height, width = trainer.target.shape[1:]

        def fake(count: int) -> Tensor:
            features = torch.zeros(count, *trainer.f.feature_shape)
            images = torch.zeros(count, 3, height, width)
            return g.train()(images if trainer.experiment.transfer.generator.reads_images else features)

        def logits(count: int) -> Tensor:
            condition = trainer.D.condition_classes
            return discriminator.train()(torch.zeros(count, channels, height, width), *_condition(count, condition))

        with trainer.session.autocast():
            return 2 * (_growth(fake) + _growth(logits))  # 2: G of source and of target images
    return 0.0


def _condition(count: int, classes: int) -> tuple[Tensor, ...]:
    return (torch.zeros(count, classes),) if classes else ()


def _growth(forward: Callable[[int], Tensor]) -> float:
    """By how many bytes what is kept for the backward pass grows with every image."""
    return (_saved_bytes(forward, 4) - _saved_bytes(forward, 2)) / 2


def _saved_bytes(forward: Callable[[int], Tensor], count: int) -> int:
    """Bytes that autograd keeps after a forward pass with ``count`` images; a tensor that is kept twice counts once."""
    storages: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(count)
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


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
    """The first of ``size`` / 2, / 4, ... images of which a step fits; 0 if none does.

    Leaves the trainer in an undefined state; build a new one.
    """
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
