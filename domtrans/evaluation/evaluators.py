"""Fit the evaluator network of a metric, cache it, and apply it to a set of images."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from domtrans.compute.seeding import reseeded, seeded
from domtrans.data.batches import Batches
from domtrans.data.image_set import ImageSet, inference_batches, to_float
from domtrans.evaluation.leak_guard import Evaluator
from domtrans.interfaces import Augmentation
from domtrans.schedules import warmup_cosine
from domtrans.session import Session

Network = TypeVar("Network", bound=Evaluator)


def fit_evaluator(
    build: Callable[[], Network],
    images: ImageSet,
    session: Session,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    view: Augmentation,
    seed: int = 0,
) -> Network:
    """Build a metric's network, and fit it on images (AdamW, warm-up, cosine decay) or load it from the cache.

    When processes measure together, the main process fits it and the others receive its weights.

    Args:
        build: Builds the network, on the CPU. Called with torch's global generators seeded.
        images: The images. What ``loss`` reads must be their labels or attributes.
        session: Device, cache and processes.
        loss: (output of the network for a batch, index of its images int64 [B]) -> scalar. The cache identifies it by its
            code, like the network.
        steps: Optimizer steps.
        batch_size: Images per step.
        lr: Highest learning rate.
        view: Augmentation of the images.
        seed: Seed of initial weights, dropout, batches and augmentation. It is not the run's, so that all runs are measured by
            the same evaluator.

    Returns:
        The network, on the session's device and in eval mode.
    """
    if isinstance(build, Evaluator):  # as plugins for version 0.1 call it
        warnings.warn("fit_evaluator now takes a function that builds the evaluator", DeprecationWarning, stacklevel=2)
        build = functools.partial(_itself, build)
    with seeded(seed):
        evaluator = build().to(session.device)

    @reseeded(seed)
    def learn() -> None:
        build()  # so that dropout draws the numbers after those of the initial weights
        evaluator.train().to(memory_format=torch.channels_last)
        loader = session.batch_loader(images, Batches(len(images), batch_size, seed=seed))
        optimizer = torch.optim.AdamW(evaluator.parameters(), lr, weight_decay=0.02, fused=True)
        rng = torch.Generator(session.device).manual_seed(seed)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * warmup_cosine(step, steps)
            index, batch = loader[step]
            with session.autocast():
                outputs = evaluator(view(to_float(batch), rng)).float()
            value = loss(outputs, index)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if step % 50 == 49:
                session.progress(step + 1, steps, {"evaluator_loss": value.item()})
        optimizer.zero_grad()  # otherwise the last gradients stay in memory as long as the network

    code: tuple[Any, ...] = (type(evaluator), loss, fit_evaluator)
    key = {
        "images": images.fingerprint(),
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "view": view_key(view),
        "seed": seed,
        "computed": session.computed,
        "code": "".join(map(inspect.getsource, code)),
    }
    if session.group.is_main:
        session.cache.fitted(evaluator, "evaluators", key, learn)
    if session.group.size > 1:
        evaluator.load_state_dict(session.group.broadcast(evaluator.state_dict()))
    return evaluator.eval()


@torch.no_grad()
def predict(network: Callable[[Tensor], Tensor], images: ImageSet, session: Session) -> Tensor:
    """Apply a network to every image of a set. Processes that measure together share the work.

    Args:
        network: Images [B, C, H, W] in [-1, 1] to [B, ...].
        images: N images.
        session: Device and processes.

    Returns:
        float32 [N, ...], on the CPU.
    """
    outputs = []
    for index in session.group.my_part(inference_batches(len(images), session.device)):
        session.raise_if_stopped()
        outputs.append(network(to_float(images.batch(index).to(session.device))).float().cpu())
    return session.group.all_gather(outputs)


def _itself(evaluator: Any) -> Any:
    return evaluator


def view_key(view: Any) -> Any:
    """The name and the options of an augmentation, the same in every process."""
    if isinstance(view, functools.partial):
        return [view.func.__module__, view.func.__qualname__, {name: view_key(value) for name, value in view.keywords.items()}]
    if isinstance(view, list | tuple):
        return [view_key(item) for item in view]
    return view if view is None or isinstance(view, str | int | float) else repr(view)
