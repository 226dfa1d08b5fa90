"""g for domains that a drawing engine draws: features to parameters, and parameters through e to images."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from domtrans import DomtransError, DrawingEngine, Generator, ImageSet, Session, as_buffers, seeded
from domtrans_engines.renderer import DifferentiableRenderer, RendererFit, fit_renderer, one_hot
from domtrans_engines.sampling import choose, value_groups

Width = Annotated[int, Field(ge=4, le=2048)]
Temperature = Annotated[float, Field(ge=0, le=2)]

SMALLEST_SHARE = 1e-3
"""Share of a value that no drawing has, where logits begin at the shares of the target's drawings."""


class ParameterGenerator(Generator):
    """g: features to the parameters of a drawing, which e, a differentiable renderer, turns into an image.

    Wolf, Taigman, Polyak: Unsupervised Creation of Parameterized Avatars, ICCV 2017 ("tied output synthesis"). Every image is
    one that the engine can draw: G(x) cannot have speckles, and its parameters can be edited. Parameters are discrete: e
    gets one-hot values, and the gradient is that of the softmax (straight-through Gumbel-softmax; Jang, Gu, Poole, ICLR 2017).

    f does not see everything that is drawn. In training, g therefore samples values from its own distribution. A trained g
    samples, too, with a noise that is a fixed function of the features, so that an image always gets the same avatar.

    Args:
        hidden: Units of each of the two hidden layers.
        temperature: The temperature at which a trained g samples values. 1: as often as g believes in them; near 0: always
            the most likely one.
        followed: Attributes of a drawing that f determines, such as "hair_length". A trained g first chooses what a drawing
            shows of them, at ``followed_temperature``, and then one of the values that show it, at ``temperature``.
        followed_temperature: A low one makes more drawings follow f, and leaves all else as varied as in the target.
        noise_frequency: How fast this noise changes with the features. None: it is smooth, and its distribution is right for
            features that are distributed as in training over both domains. A number, such as 4: every value occurs as often as
            g believes, wherever the features of a domain lie, but similar images get less similar drawings.
        renderer_width: Channels of e's layers.
        renderer_steps: Steps in which e is fitted on drawings of the target.
        renderer_batch_size: Drawings in such a step.
        renderer_lr: Highest learning rate of e.

    Raises:
        DomtransError: If the target is not drawn by an engine, not in colour, or by an engine without choices, or whose
            drawings have no attribute of a name in ``followed``.
    """

    draws_by_parameters = True

    def __init__(
        self,
        feature_size: int,
        channels: int,
        size: int,
        engine: DrawingEngine | None = None,
        *,
        hidden: Width = 256,
        temperature: Temperature = 0.75,
        followed: list[str] = [],  # noqa: B006 - pydantic hands in a copy
        followed_temperature: Temperature = 0.5,
        noise_frequency: PositiveFloat | None = None,
        renderer_width: Width = 32,
        renderer_steps: PositiveInt = 800,
        renderer_batch_size: PositiveInt = 32,
        renderer_lr: PositiveFloat = 1e-2,
    ) -> None:
        super().__init__()
        if engine is None or channels != 3:
            raise DomtransError(
                "the generator 'parameters' needs a target in colour that a drawing engine draws, such as 'avatars'; choose "
                "another target or another generator"
            )
        self.slot_sizes = list(engine.space.sizes)
        self.temperature, self.followed_temperature = temperature, followed_temperature
        for slot, groups in enumerate(value_groups(engine, followed)):
            self.register_buffer(f"groups_{slot}", groups, persistent=False)
        values = sum(self.slot_sizes)
        self.layers = nn.Sequential(
            nn.Linear(feature_size, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, values)
        )
        self.noise = ImageNoise(feature_size, values, noise_frequency)
        self.renderer_fit = RendererFit(renderer_steps, renderer_batch_size, renderer_lr)
        self.build_renderer = partial(DifferentiableRenderer, engine.space, size, width=renderer_width)
        self.renderer = as_buffers(self.build_renderer())

    def prepare(self, target: ImageSet, session: Session) -> None:
        """Fit e on the target's drawings, and begin with their distribution of parameters.

        Raises:
            DomtransError: If the target has no parameters.
        """
        if target.parameters is None:
            raise DomtransError("the target has no parameters, although an engine draws it; its domain must give them")
        with seeded(0):  # every seed of a run has the same e
            renderer = self.build_renderer().to(session.device)
        error = fit_renderer(renderer, target, session, self.renderer_fit)
        self.renderer.load_state_dict(renderer.state_dict())
        steps = self.renderer_fit.steps
        session.note(steps, steps, f"the renderer differs from held-out drawings by {error:.2f} of 255 grey levels on average")
        with torch.no_grad():
            columns = zip(target.parameters.unbind(1), self.slot_sizes, strict=True)
            last: Any = self.layers[-1]
            last.bias.copy_(torch.cat([log_shares(index, size) for index, size in columns]))
            last.weight.mul_(0.1)  # what g begins with is close to these shares for every image

    def parameter_logits(self, features: Tensor) -> tuple[Tensor, ...]:
        """Standardised features [B, F] to the logits [B, n] of every slot, float32."""
        return self.layers(features).float().split(self.slot_sizes, 1)

    def parameter_indices(self, features: Tensor) -> Tensor:
        """Standardised features [B, F] to the index of every slot's value: int64 [B, S]."""
        noise = self.noise(features).split(self.slot_sizes, 1)
        slots = zip(self.parameter_logits(features), noise, strict=True)
        return torch.stack([self._choose(slot, *each) for slot, each in enumerate(slots)], 1)

    def _choose(self, slot: int, logits: Tensor, noise: Tensor) -> Tensor:
        groups = self.get_buffer(f"groups_{slot}")
        return choose(logits, noise, self.temperature, groups, self.followed_temperature)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F] to images [B, 3, size, size] as e draws them."""
        slots = self.parameter_logits(features)
        if self.training:
            self.noise(features)  # measures the features' distribution
            return self.renderer(torch.cat([F.gumbel_softmax(logits, hard=True) for logits in slots], 1))
        likely = torch.cat([logits.softmax(1) for logits in slots], 1)
        chosen = one_hot(self.parameter_indices(features), self.slot_sizes)
        return self.renderer(chosen + likely - likely.detach())


class ImageNoise(nn.Module):
    """Standard Gumbel noise [B, P] that is a fixed, smooth function of the features [B, F], and so similar for similar images.

    The features are projected in random directions; what that gives is close to normally distributed. With a frequency, it
    is the phase of a triangle wave, which is evenly distributed even where the features of a domain hardly differ.
    """

    directions: Tensor

    def __init__(self, feature_size: int, values: int, frequency: float | None = None) -> None:
        super().__init__()
        self.frequency = frequency
        self.register_buffer("directions", torch.randn(feature_size, values) / feature_size**0.5)
        self.normalise = nn.BatchNorm1d(values, affine=False, momentum=0.01)

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F] to noise [B, P], float32."""
        with torch.autocast(features.device.type, enabled=False):
            normal = self.normalise(features.float() @ self.directions)
        uniform = torch.special.ndtr(normal) if self.frequency is None else triangle_wave(self.frequency * normal)
        return -torch.log(-torch.log(uniform.clamp(1e-6, 1 - 1e-6)))


def triangle_wave(phase: Tensor) -> Tensor:
    """0 at even phases, 1 at odd ones, linear in between."""
    return 1 - (phase % 2 - 1).abs()


def log_shares(index: Tensor, size: int) -> Tensor:
    """The logarithm of the share of every value among known indices [N]: [size]."""
    counts = torch.bincount(index[index >= 0].cpu(), minlength=size).float()
    return (counts / counts.sum().clamp_min(1)).clamp_min(SMALLEST_SHARE).log()
