"""A recipe is one complete experiment as data: what is trained on what, with which losses, for how long."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from domtrans.compute.device import Precision
from domtrans.registry.parts import Part, check_plain, validate
from domtrans.registry.registry import Registry

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Term(Part):
    """A loss with its weight and the share of the run, 0 to 1, in which it counts."""

    weight: NonNegativeFloat = 1.0
    start: Share = 0.0
    stop: Share = 1.0

    def active(self, progress: float) -> bool:
        """Whether the term counts at this share of the run, in [0, 1)."""
        return self.weight != 0 and self.start <= progress < self.stop


class EncoderPart(Part):
    """f, and a safetensors file of weights to load instead of fitting it."""

    weights: str | None = None


class OptimizerConfig(BaseModel):
    """An optimizer and its learning-rate schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.999)
    """Adam's; SGD takes the first as its momentum."""
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Linear and cosine fall to ``final_lr`` times ``lr`` at the end of the run."""
    final_lr: Share = 0.0
    warmup: Share = 0.0
    """Share of the run over which the rate rises from zero."""


class HealthConfig(BaseModel):
    """What is watched while g and D learn (docs/health.md), and what is done about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    watch: bool = True
    """Log how sure D is and how varied g's images are, and say so when something goes wrong."""
    window: Annotated[int, Field(ge=2)] = 5
    """Lines of metrics.jsonl over which something must hold before it is said: noise does not last."""
    act: bool = False
    """D stands still while it is winning."""


class TrainConfig(BaseModel):
    """How g and D learn."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: PositiveInt = 1000
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images of each domain in a batch, over all processes that train together."""
    accumulate: PositiveInt = 1
    """Equal parts in which a batch goes through the networks, one after another: less memory, the same step."""
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    generator_steps: PositiveInt = 1
    """Turns of g in a step."""
    discriminator_steps: PositiveInt = 1
    """Turns of D in a step."""
    discriminator_floor: NonNegativeFloat = 0.0
    """D is not stepped while its loss is below this."""
    updates: Literal["joint", "separate"] = "joint"
    """Joint: one update from both domains. Separate: one from source batches, then one from target batches."""
    balance_source: bool = False
    """Draw source images evenly over the classes that f's own head predicts (uses no labels)."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the average of g's weights that is evaluated and saved; 0: the last weights themselves."""
    precision: Precision = "auto"
    """bf16: mixed precision; auto: bf16 where the hardware has it."""
    compile: bool = False
    """Train through torch.compile, on CUDA as CUDA graphs: less time a step, a minute to begin with. Needs a compiler."""
    log_every: PositiveInt = 20
    save_every: PositiveInt = 200
    sample_every: PositiveInt = 200
    """Steps between lines of metrics.jsonl, saves, and sample grids."""
    workers: NonNegativeInt | None = None
    """Processes that decode images which are not in memory; 0: the training does; by default one for every core but one."""
    keep: PositiveInt = 2
    """Training states kept: the newest, and those before it in case it is damaged, or leads to one divergence after another."""
    health: HealthConfig = HealthConfig()
    rollbacks: NonNegativeInt = 2
    """How often training that diverges goes back to its last save, each time with a quarter of the learning rates."""
    validate_every: NonNegativeInt = 0
    """Steps between label-free scores on training images; the best model so far is kept beside the last. 0: never."""
    deterministic: bool = False
    """Only algorithms that give the same result every time, also on a GPU; slower, and refused where there is none."""


class Recipe(BaseModel):
    """One complete experiment. JSON and TOML hold the same tree; ``override`` changes any path of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    description: str = ""
    seed: NonNegativeInt = 0
    image_size: Annotated[int, Field(ge=8, le=1024)] = 32
    source: Part
    target: Part
    encoder: EncoderPart
    fit: Part | None = None
    """How f learns from scratch; skipped when ``encoder.weights`` are given; none: f is used as it comes."""
    adapt: Part | None = None
    """How f, fitted or loaded, learns further before it is fixed; none: not at all."""
    source_augmentation: Part | None = None
    target_augmentation: Part | None = None
    """Changes training images before anything sees them; none lets f's features be computed once."""
    view: Part | None = None
    """How f sees generated images in the losses: f(view(G(x)))."""
    discriminator_view: Part | None = None
    """How D sees every image, real or generated, e.g. with noise that hides what only a machine would notice."""
    align_features: bool = False
    """g reads target features moved to the source's mean and covariance, for an f that sees the two domains far apart."""
    generator: Part
    discriminator: Part
    generator_losses: dict[str, Term]
    discriminator_losses: dict[str, Term]
    metrics: dict[str, Part] = {}
    oracle: bool = False
    """Allows an evaluator among what g learns from; the results then say "supervised: oracle"."""
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _has_losses(self) -> Recipe:
        if not self.generator_losses:
            raise ValueError("g needs at least one loss in generator_losses")
        return self

    def resolve(self, registry: Registry) -> Recipe:
        """The same recipe with every option of every part written out; raises DomtransError for what is not there."""
        changes: dict[str, Any] = {}
        for field, kind in PART_KINDS.items():
            value = getattr(self, field)
            if isinstance(value, dict):
                changes[field] = {key: registry.resolve(kind, part) for key, part in value.items()}
            elif value is not None:
                changes[field] = registry.resolve(kind, value)
        return self.model_copy(update=changes)

    def to_json(self) -> str:
        """Indented JSON, ending in a newline; ``find_recipe`` reads it."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


PART_KINDS = {
    "source": "domain",
    "target": "domain",
    "encoder": "encoder",
    "fit": "fit",
    "adapt": "fit",
    "source_augmentation": "augmentation",
    "target_augmentation": "augmentation",
    "view": "augmentation",
    "discriminator_view": "augmentation",
    "generator": "generator",
    "discriminator": "discriminator",
    "generator_losses": "loss",
    "discriminator_losses": "loss",
    "metrics": "metric",
}
"""Which kind of part each field of a recipe names."""


def use(name: str, **options: Any) -> Part:
    """A part by name, e.g. ``use("street-digits", count=5000)``."""
    return Part.model_validate({"name": name} | options)


def term(name: str, *, weight: float = 1.0, start: float = 0.0, stop: float = 1.0, **options: Any) -> Term:
    """A loss term by name, e.g. ``term("feature-consistency", weight=15, distance="mse")``."""
    return Term.model_validate({"name": name, "weight": weight, "start": start, "stop": stop} | options)


def make_recipe(data: dict[str, Any], where: str) -> Recipe:
    """Check a tree of plain values; raises DomtransError naming ``where`` and the path of what is wrong."""
    check_plain(data, where)
    recipe = validate(Recipe, data, where)
    assert isinstance(recipe, Recipe)
    return recipe
