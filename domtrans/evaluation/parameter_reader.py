"""c: a network that reads the parameters of a drawing in its image, also where the image is distorted, blurred or speckled."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domtrans.compute.seeding import reseeded, seeded
from domtrans.data.batches import Batches
from domtrans.data.image_set import ImageSet, inference_batches, to_float
from domtrans.errors import DomtransError
from domtrans.schedules import warmup_cosine
from domtrans.session import Session

HELD_OUT = 10
"""Out of this many drawings, one is left out of the fit, to measure its error."""


class ParameterReader(nn.Module):
    """c: images [B, 3, H, W] in [-1, 1] to the logits of all slots side by side.

    Four stages of two convolutions with batch norm, a hidden layer that keeps positions, and a softmax for every slot.

    Args:
        sizes: The number of values of every slot.
        width: Channels of the first stage; the others have 2, 4 and 4 times as many.
        hidden: Units of the hidden layer.
    """

    def __init__(self, sizes: Sequence[int], *, width: int = 24, hidden: int = 256) -> None:
        super().__init__()
        self.sizes = list(sizes)

        def convolution(before: int, after: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((3, width, 2 * width, 4 * width, 4 * width)):
            layers += [*convolution(before, after, 2), *convolution(after, after, 1)]
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * width, hidden), nn.ReLU(), nn.Dropout(0.1)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, sum(self.sizes)))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, P], float32."""
        return self.layers(images.contiguous(memory_format=torch.channels_last)).float()

    @torch.no_grad()
    def read(self, images: ImageSet) -> Tensor:
        """The most likely parameters of every image: int64 [N, S], on the CPU."""
        device = next(self.parameters()).device
        blocks = [self(to_float(images.batch(index).to(device))).cpu() for index in inference_batches(len(images), device)]
        return torch.stack([slot.argmax(1) for slot in torch.cat(blocks).split(self.sizes, 1)], 1)


def fit_parameter_reader(
    drawings: ImageSet, session: Session, *, steps: int = 1500, batch_size: int = 64, lr: float = 2e-3
) -> tuple[ParameterReader, dict[str, float]]:
    """Fit c on damaged drawings with their parameters, or load it from the cache.

    Args:
        drawings: Drawings of an engine, with their parameters.
        session: Device, random numbers and cache. c does not depend on the run's seed.
        steps: Steps of AdamW, with cosine decay.
        batch_size: Drawings per step.
        lr: Highest learning rate.

    Returns:
        c, and for every slot by name the share of the drawings in which it reads the slot correctly: drawings that were not
        fitted and not damaged, and in which the slot shows.

    Raises:
        DomtransError: If the drawings come without parameters.
    """
    if drawings.engine is None or drawings.parameters is None:
        raise DomtransError("a parameter reader is fitted on drawings with their parameters, and these images have none")
    sizes = drawings.engine.space.sizes
    with seeded(0):
        reader = ParameterReader(sizes).to(session.device)
    parameters = drawings.parameters.to(session.device)
    everything = torch.arange(len(drawings))
    held_out, fitted = everything[::HELD_OUT], everything[everything % HELD_OUT != 0]

    @reseeded(0)
    def fit() -> None:
        ParameterReader(sizes)  # so that dropout draws the numbers after those of the initial weights
        reader.train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(reader.parameters(), lr, weight_decay=0.02, fused=True)
        batches = Batches(len(fitted), batch_size, 0)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * warmup_cosine(step, steps)
            index = fitted[batches[step]]
            images = damage(to_float(drawings.batch(index).to(session.device)), session.rng("reader", step))
            with session.autocast():
                logits = reader(images)
            known = parameters[index.to(session.device)]
            pairs = zip(logits.split(reader.sizes, 1), known.unbind(1), strict=True)
            terms = [F.cross_entropy(slot, value, ignore_index=-1, reduction="sum") for slot, value in pairs]
            loss = torch.stack(terms).sum() / batch_size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 50 == 49:
                session.progress(step + 1, steps, {"reader_loss": loss.item()})

    code: tuple[Any, ...] = (ParameterReader, fit_parameter_reader, damage)
    key = {
        "drawings": drawings.fingerprint(),
        "slots": drawings.engine.space.json_schema()["properties"],
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "computed": session.computed,
        "code": "".join(map(inspect.getsource, code)),
    }
    session.cache.fitted(reader, "readers", key, fit)
    reader.requires_grad_(False).eval()
    read, known = reader.read(drawings.take(held_out)), parameters.cpu()[held_out]
    return reader, {
        name: float((read[shown, slot] == known[shown, slot]).double().mean())
        for slot, name in enumerate(drawings.engine.space.names)
        if bool((shown := known[:, slot] >= 0).any())
    }


def damage(images: Tensor, rng: torch.Generator) -> Tensor:
    """Images [B, 3, H, W] as a generator of pixels may draw them: moved, blurred, smeared, speckled and noisy at random."""
    count, device = len(images), images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=rng, device=device)

    turn, scale, shift = uniform(-0.06, 0.06), uniform(0.94, 1.06), uniform(-0.05, 0.05, 2)
    rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(count, 2, 2)
    grid = F.affine_grid(torch.cat([rotation * scale.view(-1, 1, 1), shift.unsqueeze(2)], 2), list(images.shape), False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "replicate"), 3, 1)
    images = images.lerp(blurred, uniform(0, 1, 1, 1, 1))
    coarse = F.interpolate(F.adaptive_avg_pool2d(images, 8), images.shape[-2:], mode="bilinear")
    images = images.lerp(coarse, uniform(0, 0.4, 1, 1, 1))
    speckles = torch.rand(count, 1, *images.shape[-2:], generator=rng, device=device) < uniform(0, 0.15, 1, 1, 1)
    colours = torch.rand(images.shape, generator=rng, device=device) * 2 - 1
    images = torch.where(speckles, colours, images)
    return images + uniform(0, 0.15, 1, 1, 1) * torch.randn(images.shape, generator=rng, device=device)
