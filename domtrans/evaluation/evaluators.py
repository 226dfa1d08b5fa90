"""How a metric's own network is fitted, kept and asked."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from domtrans.data.batches import Batches
from domtrans.data.image_set import ImageSet, inference_batches, to_float
from domtrans.evaluation.leak_guard import Evaluator
from domtrans.interfaces import Augmentation
from domtrans.session import Session


def fit_evaluator(
    evaluator: Evaluator,
    images: ImageSet,
    session: Session,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    view: Augmentation,
    seed: int = 0,
) -> None:
    """Fit a metric's network on images (AdamW, cosine decay), or load it from the cache; then it is in eval mode.

    ``loss``: (what the network gives for a batch, index of its images int64 [B]) -> scalar; like the network it is known to
    the cache by its code, and what it reads must be labels or attributes of the images. ``view``: how the network sees images
    meanwhile. ``seed``: of batches and views; not the run's, for the ruler is to be the same for every run. Of processes that
    measure together the first fits it for all.
    """

    def learn() -> None:
        evaluator.train().to(memory_format=torch.channels_last)
        loader = session.batch_loader(images, Batches(len(images), batch_size, seed=seed))
        optimizer = torch.optim.AdamW(evaluator.parameters(), lr, weight_decay=0.02, fused=True)
        rng = torch.Generator(session.device).manual_seed(seed)
        for step in range(steps):
            factor = min(1.0, (step + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
            optimizer.param_groups[0]["lr"] = lr * factor
            index, batch = loader[step]
            with session.autocast():
                found = evaluator(view(to_float(batch), rng)).float()
            value = loss(found, index)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if step % 50 == 49:
                session.progress(step + 1, steps, {"evaluator_loss": value.item()})
        optimizer.zero_grad()  # the gradients of the last step would be kept as long as the network

    code: tuple[Any, ...] = (type(evaluator), loss, fit_evaluator)
    key = {
        "images": images.fingerprint(),
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "view": identity(view),
        "seed": seed,
        "code": "".join(map(inspect.getsource, code)),
    }
    if session.group.is_main:
        session.cache.fitted(evaluator, "evaluators", key, learn)
    if session.group.size > 1:
        evaluator.load_state_dict(session.group.broadcast(evaluator.state_dict()))
    evaluator.eval()


@torch.no_grad()
def predict(network: Callable[[Tensor], Tensor], images: ImageSet, session: Session) -> Tensor:
    """What a network gives for every image of a set, float32 [N, ...], on the CPU. Processes that measure together share it."""
    blocks = (images.batch(index) for index in session.group.my_part(inference_batches(len(images), session.device)))
    return session.group.all_gather([network(to_float(block.to(session.device))).float().cpu() for block in blocks])


def identity(view: Any) -> Any:
    """What an augmentation is, the same in every process: its name and its options."""
    if isinstance(view, functools.partial):
        return [view.func.__module__, view.func.__qualname__, {name: identity(value) for name, value in view.keywords.items()}]
    if isinstance(view, list | tuple):
        return [identity(item) for item in view]
    return view if view is None or isinstance(view, str | int | float) else repr(view)
