"""What the rows of the study have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domtrans import Published, Row
from domtrans_digits import recipes
from domtrans_digits.domains.local_files import find_mnist, find_svhn

Changes = dict[str, Any]

FAITHFUL = "digits-dtn-paper"


class Common:
    """What the rows have in common: the data, f, what is measured, and how much of everything."""

    def __init__(self, data_dir: str | None, encoder: str | None, quick: bool) -> None:
        self.encoder, self.quick = encoder, quick
        self.recipe = recipes.svhn_dtn() if data_dir else recipes.digits_dtn()
        """The best one there is for this data."""
        self.source: Changes = find_svhn(Path(data_dir)) if data_dir else {"name": "street-digits"}
        self.target: Changes = find_mnist(Path(data_dir)) if data_dir else {"name": "mnist-5k"}
        if quick:
            self.source = subset(self.source, count=300) if data_dir else self.source | {"count": 300, "test_count": 100}
            self.target = subset(self.target, count=300)
        self.evaluator: Changes = {"steps": 40, "batch_size": 32} if quick else {}
        """Options of every metric that fits one."""
        self.accuracy: Changes = {"name": "digit-accuracy", **self.evaluator}

    def row(
        self,
        name: str,
        about: str,
        changes: Mapping[str, Any] | None = None,
        *,
        recipe: str | None = None,
        measured: Mapping[str, Any] | None = None,
        published: tuple[Published, ...] = (),
    ) -> Row:
        """A row with what all have in common, before its own changes; of the best recipe, unless it names another."""
        recipe = recipe or self.recipe.name
        metrics = {
            "digits": self.accuracy,
            "realism": {"name": "digit-realism", **self.evaluator},
            "consistency": {"name": "f-consistency"},
        }
        data = {"source": self.source, "target": self.target, "metrics": metrics}
        return Row(
            name, about, recipe, data | self._f(recipe) | self._small(recipe) | dict(changes or {}), measured or {}, published
        )

    def best(self, *published: Published) -> Row:
        """The row that every table begins with."""
        return self.row("best", "The best unsupervised recipe.", published=published)

    def setting(self, path: str) -> Any:
        """What the best row has at a path of its recipe; "none" for nothing."""
        changes, below = self.best().changes, f"{path}."
        value: Any = self.recipe.model_dump(mode="json")
        for key in path.split("."):
            value = value.get(key)
        value = changes.get(path, value)
        if isinstance(value, dict):
            value = value | {key.removeprefix(below): change for key, change in changes.items() if key.startswith(below)}
        return "none" if value is None else value

    def generator(self, name: str) -> Changes:
        """Another g as wide as the best recipe's."""
        width = 8 if self.quick else self.recipe.generator.options["width"]
        return {"generator": {"name": name, "width": width}}

    def _f(self, recipe: str) -> Changes:
        """Weights loaded instead of a fit; a best recipe that learns from target images while it fits f then adapts them so."""
        if self.encoder is None:
            return {}
        changes: Changes = {"encoder.weights": self.encoder, "encoder.even_contrast": False, "fit": "none"}
        learns = None if recipe == FAITHFUL or self.recipe.adapt else self.recipe.fit
        return changes | ({"adapt": learns.model_dump(mode="json")} if learns else {})

    def _small(self, recipe: str) -> Changes:
        """So little of everything that a row takes seconds."""
        if not self.quick:
            return {}
        stages = [] if self.encoder else ["fit"]
        if recipe != FAITHFUL and (self.recipe.adapt or self.encoder):
            stages.append("adapt")
        learning = {f"{stage}.{name}": value for stage in stages for name, value in (("steps", 30), ("batch_size", 16))}
        return learning | {
            "generator.width": 8,
            "discriminator.width": 8,
            "train.steps": 30,
            "train.batch_size": 16,
            "train.log_every": 5,
        }


def subset(domain: Mapping[str, Any], **options: Any) -> Changes:
    """Part of a domain."""
    return {"name": "subset", "of": dict(domain), **options}
