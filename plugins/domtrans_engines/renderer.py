"""e: a differentiable network that draws what a drawing engine draws, fitted on drawn pairs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domtrans import Batches, Choice, Colour, DomtransError, ImageSet, ParameterSpace, Session, to_float, warmup_cosine

HELD_OUT = 10
"""Out of this many drawings, one is left out of the fit, to measure its error."""


class DifferentiableRenderer(nn.Module):
    """e: the parameters of a drawing, one-hot, to its image; the gradient reaches the parameters.

    A pixel is a mixture of the colours of the colour slots and of a colour of its own. Every value of a choice has a map with
    what it adds to the logits of the opacities and to the pixel's own colour. As maps overlap, two layers, the same for every
    pixel, correct the sum. An engine composes layers in much the same way, so that drawings are sharp after a short fit, and
    e can draw any colour. Taigman, Polyak and Wolf fit e as well: Unsupervised Creation of Parameterized Avatars, ICCV 2017.

    Args:
        space: The parameters.
        size: Side of the images in pixels.
        width: Channels of the two layers.

    Raises:
        DomtransError: If no slot is a choice.
    """

    def __init__(self, space: ParameterSpace, size: int, *, width: int = 32) -> None:
        super().__init__()
        self.size = size
        self.sizes = list(space.sizes)
        slots = list(space.slots.values())
        self.choices = [i for i, slot in enumerate(slots) if isinstance(slot, Choice)]
        if not self.choices:
            raise DomtransError("e learns what the variants of slots look like, and no slot of this engine is a choice")
        self.palettes = [f"palette{i}" for i, slot in enumerate(slots) if isinstance(slot, Colour)]
        self.colours = [i for i, slot in enumerate(slots) if isinstance(slot, Colour)]
        for name, slot in zip(self.palettes, (slot for slot in slots if isinstance(slot, Colour)), strict=True):
            self.register_buffer(name, torch.tensor([to_rgb(colour) for colour in slot.palette]))
        channels = len(self.colours) + 4  # an opacity for each colour and for a colour of its own; that colour
        self.maps = nn.ParameterList(nn.Parameter(torch.randn(self.sizes[i], size**2 * channels) / 10) for i in self.choices)
        self.correction = nn.Sequential(
            nn.Conv2d(channels * len(self.choices), width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, channels, 1),
        )

    def forward(self, weights: Tensor) -> Tensor:
        """One-hot parameters [B, P], all slots side by side, to images [B, 3, size, size] in [-1, 1].

        Weights that are not one-hot give a mixture of drawings.
        """
        slots = weights.split(self.sizes, 1)
        maps = [
            (slots[i] @ values).unflatten(1, (self.size, self.size, -1)).permute(0, 3, 1, 2)  # channels last
            for i, values in zip(self.choices, self.maps, strict=True)
        ]
        layers = self.correction(torch.cat(maps, 1)).float() + torch.stack([each.float() for each in maps]).sum(0)
        opacity, own = layers[:, :-3].softmax(1), layers[:, -3:].sigmoid()
        image = opacity[:, -1:] * own
        if self.colours:
            colours = [slots[i].float() @ getattr(self, name) for i, name in zip(self.colours, self.palettes, strict=True)]
            image = image + torch.einsum("bkhw,bkc->bchw", opacity[:, :-1], torch.stack(colours, 1))
        return image * 2 - 1


def to_rgb(colour: str) -> list[float]:
    """ "#rrggbb" to three numbers in [0, 1]."""
    return [int(colour[first : first + 2], 16) / 255 for first in (1, 3, 5)]


def one_hot(parameters: Tensor, sizes: Sequence[int]) -> Tensor:
    """Indices int64 [B, S] to one-hot slots side by side, float32 [B, P]; a hidden slot (-1) counts as its first value."""
    slots = parameters.clamp_min(0).unbind(1)
    return torch.cat([F.one_hot(index, size) for index, size in zip(slots, sizes, strict=True)], 1).float()


@dataclass(frozen=True)
class RendererFit:
    """How e is fitted: steps of Adam, whose rate decays from ``lr``, with so many drawings each."""

    steps: int
    batch_size: int
    lr: float


def fit_renderer(renderer: DifferentiableRenderer, drawings: ImageSet, session: Session, how: RendererFit) -> float:
    """Fit e on drawings with their parameters, or load it from the cache.

    Args:
        renderer: e; its weights are fixed afterwards.
        drawings: Drawings of the engine, with their parameters.
        session: Device, precision and cache.
        how: Steps, batch size and learning rate.

    Returns:
        The mean absolute difference between e's image and the drawing, over drawings that were not fitted, in grey levels
        (0 to 255).
    """
    parameters = drawings.parameters
    assert parameters is not None and drawings.engine is not None
    everything = torch.arange(len(drawings))
    held_out, fitted = everything[::HELD_OUT], everything[everything % HELD_OUT != 0]

    def fit() -> None:
        renderer.train()
        batches = Batches(len(fitted), how.batch_size, 0)
        optimizer = torch.optim.Adam(renderer.parameters(), how.lr, fused=True)
        for step in range(how.steps):
            optimizer.param_groups[0]["lr"] = how.lr * warmup_cosine(step, how.steps)
            index = fitted[batches[step]]
            images = to_float(drawings.batch(index).to(session.device))
            with session.autocast():
                drawn = renderer(one_hot(parameters[index.to(parameters.device)].to(session.device), renderer.sizes))
            error = drawn - images
            loss = error.abs().mean() + error.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 50 == 49:
                session.progress(step + 1, how.steps, {"renderer_loss": loss.item()})

    code: tuple[Any, ...] = (DifferentiableRenderer, fit_renderer, one_hot)
    key = {
        "drawings": drawings.fingerprint(),
        "slots": drawings.engine.space.json_schema()["properties"],
        "shapes": {name: list(tensor.shape) for name, tensor in renderer.state_dict().items()},
        **asdict(how),
        "computed": session.computed,
        "code": "".join(map(inspect.getsource, code)),
    }
    session.cache.fitted(renderer, "renderers", key, fit)
    renderer.requires_grad_(False).eval()
    return rendering_error(renderer, drawings, held_out)


@torch.no_grad()
def rendering_error(renderer: DifferentiableRenderer, drawings: ImageSet, index: Tensor) -> float:
    """Mean absolute difference between e's images and the drawings ``index``, in grey levels (0 to 255)."""
    assert drawings.parameters is not None
    device, total = renderer.maps[0].device, 0.0
    for block in index.split(64):
        images = to_float(drawings.batch(block).to(device))
        drawn = renderer(one_hot(drawings.parameters[block.to(drawings.parameters.device)].to(device), renderer.sizes))
        total += float((drawn - images).abs().mean()) * len(block)
    return 127.5 * total / len(index)
