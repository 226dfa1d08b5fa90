"""How heads on fixed layers learn: those layers look at every image once, and not at every step."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from domtrans import Augmentation, AugmentationOption, Batches, Encoder, ImageSet, Session, to_channels, to_float
from domtrans_dtn.fits import Questions, Rate, Share, set_rate

AT_ONCE = 64
"""Images that f's fixed layers look at at a time."""


def probe(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    *,
    steps: PositiveInt = 1500,
    batch_size: PositiveInt = 64,
    lr: Rate = 1e-3,
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2,
    label_smoothing: Share = 0.05,
    looks: PositiveInt = 1,
    view: AugmentationOption | None = None,
) -> None:
    """Fit what f learns on top of its fixed layers, with its heads, on the labelled source images (AdamW, cosine decay).

    What the fixed layers give is computed beforehand and held in memory. Of an f without any, that is the images themselves.

    ``steps``: of fitting. ``batch_size``: images in a step. ``lr``: AdamW's learning rate at its highest.
    ``weight_decay``: AdamW's. ``label_smoothing``: share of every label that is spread over all classes. ``looks``: how often
    every image is looked at, each time through ``view``, and learned from as an image of its own.
    """
    asked = Questions.about(source, encoder, session.device)
    found = torch.cat([seen(encoder, source, session, view, session.rng("look", k)) for k in range(looks)])
    batches = Batches(len(found), batch_size, session.seed)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr, weight_decay=weight_decay, fused=True)
    for step in range(steps):
        set_rate(optimizer, lr, step, steps)
        index = batches[step].to(session.device)
        logits = encoder.logits(encoder.read(found[index])).float()
        loss = asked.loss(logits, index % len(source), label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19:
            session.report(step + 1, steps, {"loss": loss.item()})


@torch.no_grad()
def seen(encoder: Encoder, images: ImageSet, session: Session, view: Augmentation | None, rng: torch.Generator) -> Tensor:
    """What f's fixed layers give for every image, each through a view of its own: [N, ...]."""
    blocks = torch.arange(len(images)).split(AT_ONCE)
    feed, found = session.feed(images, blocks), []
    for k in range(len(blocks)):
        batch = to_float(feed[k][1])
        found.append(encoder.fixed(to_channels(view(batch, rng) if view else batch, encoder.channels)))
    return torch.cat(found)
