"""Fit heads on frozen layers: those layers process every image once instead of at every step."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from domtrans import Augmentation, AugmentationOption, Batches, Encoder, ImageSet, Session, to_channels, to_float
from domtrans_dtn.fits import HeadTargets, Share, report_loss, set_learning_rate

PRECOMPUTE_BATCH_SIZE = 64
"""Images that pass f's frozen layers at a time."""


def probe(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    *,
    steps: PositiveInt = 1500,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 1e-3,
    weight_decay: NonNegativeFloat = 1e-2,
    label_smoothing: Share = 0.05,
    balance: Share = 0.0,
    looks: PositiveInt = 1,
    view: AugmentationOption | None = None,
) -> None:
    """Fit the trainable layers and heads of f on top of its frozen layers, on labelled source images (AdamW, cosine decay).

    The outputs of the frozen layers are computed beforehand and kept in memory. For an f without frozen layers, these
    are the images themselves.

    Args:
        steps: Optimizer steps.
        batch_size: Images per step.
        lr: Highest learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        label_smoothing: Share of every label that is spread evenly over all classes.
        balance: How much rare values count. 0: every image counts the same; 1: every value of a head counts the same.
        looks: Copies of the training set, each with its own random ``view``.
        view: Augmentation of the images.

    Raises:
        DomtransError: If the source has no labels that f's heads can learn.
    """
    targets = HeadTargets.of(source, encoder, session.device, balance)
    inputs = torch.cat([frozen_outputs(encoder, source, session, view, session.rng("look", k)) for k in range(looks)])
    batches = Batches(len(inputs), batch_size, session.seed)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr, weight_decay=weight_decay, fused=True)
    for step in range(steps):
        set_learning_rate(optimizer, lr, step, steps)
        index = batches[step].to(session.device)
        logits = encoder.logits(encoder.read(inputs[index])).float()
        loss = targets.loss(logits, index % len(source), label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report_loss(session, step, steps, loss)


@torch.no_grad()
def frozen_outputs(
    encoder: Encoder, images: ImageSet, session: Session, view: Augmentation | None, rng: torch.Generator
) -> Tensor:
    """The outputs of f's frozen layers for every image, each through its own random view: [N, ...]."""
    blocks = torch.arange(len(images)).split(PRECOMPUTE_BATCH_SIZE)
    loader, outputs = session.batch_loader(images, blocks), []
    for k in range(len(blocks)):
        batch = to_float(loader[k][1])
        outputs.append(encoder.fixed(to_channels(view(batch, rng) if view else batch, encoder.channels)))
    return torch.cat(outputs)
