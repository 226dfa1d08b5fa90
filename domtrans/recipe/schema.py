"""A recipe: one complete experiment as data. It names the data, the networks, the losses and the training options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from domtrans.compute.precision import Precision
from domtrans.registry.parts import Part, check_plain, validate
from domtrans.registry.registry import Registry

Share = Annotated[float, Field(ge=0.0, le=1.0)]

DOMAINS = ("source", "target")
"""The fields of a recipe that are domains."""


class Term(Part):
    """A loss with its weight, and the part of training in which it is active.

    Attributes:
        weight: Factor of the loss in the sum.
        start: Where it becomes active, as a share of the training steps, 0 to 1.
        stop: Where it ends, likewise.
    """

    kept: ClassVar[tuple[str, ...]] = ("weight", "start", "stop")

    weight: NonNegativeFloat = 1.0
    start: Share = 0.0
    stop: Share = 1.0

    def active(self, progress: float) -> bool:
        """Whether the loss is active at this share of the steps, in [0, 1)."""
        return self.weight != 0 and self.start <= progress < self.stop


class EncoderPart(Part):
    """An encoder f, optionally with weights to load instead of fitting it.

    Attributes:
        weights: A file of weights, a model file, a run folder, or ``models:NAME``; see ``load_encoder``.
    """

    weights: str | None = None


class OptimizerConfig(Part):
    """An optimizer with its options, and its learning-rate schedule.

    Attributes:
        name: The optimizer.
        lr: The highest learning rate.
        schedule: How the learning rate changes after the warm-up: not at all, or to ``final_lr``.
        final_lr: The share of ``lr`` that the linear and the cosine schedule approach, and would reach in the step after the
            last.
        warmup: Share of the steps over which the learning rate rises linearly from 0.
    """

    kept: ClassVar[tuple[str, ...]] = ("lr", "schedule", "final_lr", "warmup")

    name: str = "adam"
    lr: PositiveFloat = 2e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_lr: Share = 0.0
    warmup: Share = 0.0

    @model_validator(mode="before")
    @classmethod
    def _with_momentum(cls, data: Any) -> Any:
        """Recipes once gave the momentum of SGD as the first of ``betas``."""
        if not (isinstance(data, Mapping) and data.get("name") == "sgd" and isinstance(data.get("betas"), list | tuple)):
            return data
        rest = {key: value for key, value in data.items() if key != "betas"}
        return {"momentum": data["betas"][0], **rest} if data["betas"] else rest


class HealthConfig(BaseModel):
    """Checks of the training while it runs (docs/health.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    watch: bool = True
    """Log the normalised loss of D and the diversity of G(x), and raise alarms."""
    window: Annotated[int, Field(ge=2)] = 5
    """Lines of metrics.jsonl in which a condition must hold before it raises an alarm. More lines ignore more noise."""
    act: bool = False
    """Pause the optimizer of D while D wins."""


class TrainConfig(BaseModel):
    """How g and D are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    begin: str | None = None
    """A run folder, a model file, models:NAME or hf://OWNER/NAME, whose g and D training begins with."""
    steps: PositiveInt = 1000
    """Training steps."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images of each domain per batch, over all processes."""
    accumulate: PositiveInt = 1
    """Micro-batches per batch (gradient accumulation): less memory, the same step."""
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    """The optimizer of g."""
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    """The optimizer of D."""
    generator_steps: PositiveInt = 1
    """Updates of g per step."""
    discriminator_steps: PositiveInt = 1
    """Updates of D per step."""
    discriminator_floor: NonNegativeFloat = 0.0
    """D is not updated while its loss is below this."""
    updates: Literal["joint", "separate"] = "joint"
    """joint: one update from a batch of both domains. separate: one from a source batch, then one from a target batch."""
    balance_source: bool = False
    """Sample source images evenly over the classes that f's own head predicts. No labels are used."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the exponential moving average of g's weights, which is saved and measured. 0: the last weights."""
    precision: Precision = "auto"
    """bf16: bfloat16 mixed precision. auto: bf16 where the hardware supports it natively, else float32."""
    compile: bool = False
    """Use torch.compile, on CUDA with CUDA graphs: faster steps after about a minute. Needs a C++ compiler."""
    capture: bool = False
    """On CUDA, record a whole step as CUDA graphs and replay them: Python launches no single operations."""
    log_every: PositiveInt = 20
    """Steps between two lines of metrics.jsonl."""
    save_every: PositiveInt = 200
    """Steps between two checkpoints."""
    save_minutes: NonNegativeFloat = 0.0
    """Minutes after which a checkpoint is written between those of ``save_every``; the next replaces it. 0: none."""
    sample_every: PositiveInt = 200
    """Steps between two sample grids."""
    workers: NonNegativeInt | None = None
    """Processes that decode images which are not in memory. 0: the training process decodes. None: all cores but one."""
    keep: PositiveInt = 2
    """Training states to keep: the newest, and earlier ones in case it is damaged or a rollback needs them."""
    health: HealthConfig = HealthConfig()
    """Checks of the training while it runs."""
    rollbacks: NonNegativeInt = 2
    """How often a training that diverges may go back to a checkpoint, each time with a quarter of the learning rates."""
    validate_every: NonNegativeInt = 0
    """Steps between two label-free scores on training images; the best model is saved as best.safetensors. 0: no scores."""
    deterministic: bool = False
    """Use only deterministic algorithms, also on a GPU. Slower; an operation that has none is an error."""


class Recipe(BaseModel):
    """One complete experiment. JSON and TOML files have the same structure; ``override`` changes any path of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    """The name of the recipe, and by default of the run folder under runs/."""
    description: str = ""
    """One line for people."""
    choices: tuple[str, ...] = ()
    """What the recipe chose by looking at its data, in sentences."""
    seed: NonNegativeInt = 0
    """All random numbers of the run depend on it."""
    image_size: Annotated[int, Field(ge=8, le=1024)] = 32
    """Side of the images in pixels."""
    source: Part
    """The domain that G reads."""
    target: Part
    """The domain that G generates. Its labels are used only by metrics."""
    encoder: EncoderPart
    """f."""
    fit: Part | None = None
    """How f is fitted; skipped with ``encoder.weights``. None: f is used as built, or with its published weights."""
    adapt: Part | None = None
    """A second fit of f, after ``fit`` or ``encoder.weights``."""
    source_augmentation: Part | None = None
    """Augmentation of source training images. None: f's features of the images are computed once."""
    target_augmentation: Part | None = None
    """Augmentation of target training images."""
    view: Part | None = None
    """Augmentation of generated images before f in the losses: f(view(G(x)))."""
    discriminator_view: Part | None = None
    """Augmentation of every image before D, e.g. noise that hides traces of generated images."""
    align_features: bool = False
    """Map the target features that g reads to the mean and covariance of the source's, for an f that separates the domains."""
    generator: Part
    """g."""
    discriminator: Part
    """D."""
    generator_losses: dict[str, Term]
    """The loss of g: a weighted sum, by the names under which its terms are logged."""
    discriminator_losses: dict[str, Term]
    """The loss of D, likewise."""
    metrics: dict[str, Part] = {}
    """What is measured at the end, by name."""
    oracle: bool = False
    """Allow evaluators in training. The results then say "supervised: oracle"."""
    train: TrainConfig = TrainConfig()
    """How g and D are trained."""

    @model_validator(mode="after")
    def _has_losses(self) -> Recipe:
        if not self.generator_losses:
            raise ValueError("g needs at least one loss in generator_losses")
        return self

    def resolve(self, registry: Registry) -> Recipe:
        """The same recipe with every option of every part written out.

        Raises:
            DomtransError: For an unknown part, an unknown option or a wrong value.
        """
        changes: dict[str, Any] = {}
        for field, kind in PART_KINDS.items():
            value = getattr(self, field)
            if isinstance(value, dict):
                changes[field] = {key: registry.resolve(kind, part) for key, part in value.items()}
            elif value is not None:
                changes[field] = registry.resolve(kind, value)
        optimizers = {name: registry.resolve("optimizer", getattr(self.train, name)) for name in OPTIMIZERS}
        return self.model_copy(update=changes | {"train": self.train.model_copy(update=optimizers)})

    def parts(self) -> Iterator[tuple[str, str, Part]]:
        """``(path, kind, part)`` for every part of the recipe, without the parts nested in it."""
        for field, kind in PART_KINDS.items():
            value = getattr(self, field)
            if isinstance(value, dict):
                yield from ((f"{field}.{key}", kind, part) for key, part in value.items())
            elif value is not None:
                yield field, kind, value
        for name in OPTIMIZERS:
            yield f"train.{name}", "optimizer", getattr(self.train, name)

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
"""The kind of part of each field of a recipe."""
OPTIMIZERS = ("generator_optimizer", "discriminator_optimizer")
"""The fields of ``train`` that are parts."""


def use(name: str, **options: Any) -> Part:
    """A part with options, e.g. ``use("street-digits", count=5000)``."""
    return Part.model_validate({"name": name} | options)


def term(name: str, *, weight: float = 1.0, start: float = 0.0, stop: float = 1.0, **options: Any) -> Term:
    """A loss term with options, e.g. ``term("feature-consistency", weight=15, distance="mse")``; see ``Term``."""
    return Term.model_validate({"name": name, "weight": weight, "start": start, "stop": stop} | options)


def make_recipe(data: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values; raises DomtransError with ``where`` and the path of what is wrong."""
    check_plain(data, where)
    recipe = validate(Recipe, data, where)
    assert isinstance(recipe, Recipe)
    return recipe
