"""Settings that all rows of the study share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domtrans import Part, Published, Recipe, Row
from domtrans_digits import recipes
from domtrans_digits.domains.local_files import find_mnist, find_svhn

Changes = dict[str, Any]

FAITHFUL = "digits-dtn-paper"


class CommonSettings:
    """Data, encoder, metrics and sizes that all rows share, and the rows built from them."""

    def __init__(self, data_dir: str | None, encoder: str | None, quick: bool) -> None:
        self.encoder, self.quick = encoder, quick
        self.recipe = recipes.svhn_dtn() if data_dir else recipes.digits_dtn()
        """The best recipe for this data."""
        self.source: Changes = find_svhn(Path(data_dir)) if data_dir else {"name": "street-digits"}
        self.target: Changes = find_mnist(Path(data_dir)) if data_dir else {"name": "mnist-5k"}
        if quick:
            self.source = subset(self.source, count=300) if data_dir else self.source | {"count": 300, "test_count": 100}
            self.target = subset(self.target, count=300)
        self.evaluator: Changes = {"steps": 40, "batch_size": 32} if quick else {}
        """Options of the metrics that fit an evaluator."""
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
        """A row: the shared settings, then its own changes, on the best recipe unless it names another."""
        recipe = recipe or self.recipe.name
        metrics = {
            "digits": self.accuracy,
            "realism": {"name": "digit-realism", **self.evaluator},
            "consistency": {"name": "f-consistency"},
        }
        data = {"source": self.source, "target": self.target, "metrics": metrics}
        shared = data | self._encoder_changes(recipe) | self._quick_changes(recipe)
        return Row(name, about, recipe, shared | dict(changes or {}), measured or {}, published)

    def best(self, *published: Published) -> Row:
        """The first row of every table."""
        return self.row("best", "The best unsupervised recipe.", published=published)

    def setting(self, path: str) -> Any:
        """The value at a path of the best row's recipe; "none" if there is no part."""
        changes, prefix = self.best().changes, f"{path}."
        value: Any = self.recipe.model_dump(mode="json")
        for key in path.split("."):
            value = value.get(key)
        value = changes.get(path, value)
        if isinstance(value, dict):
            value = value | {key.removeprefix(prefix): change for key, change in changes.items() if key.startswith(prefix)}
        return "none" if value is None else value

    def generator(self, name: str) -> Changes:
        """Another g, as wide as in the best recipe."""
        width = 8 if self.quick else self.recipe.generator.options["width"]
        return {"generator": {"name": name, "width": width}}

    def _encoder_changes(self, recipe: str) -> Changes:
        """Load f instead of fitting it; if the fit uses target images, it becomes the adaptation of the loaded f."""
        if self.encoder is None:
            return {}
        encoder = {"name": "digit-encoder", "even_contrast": False, "weights": self.encoder}
        changes: Changes = {"encoder": encoder, "fit": "none"}
        adaptation = None if recipe == FAITHFUL or self.recipe.adapt else fit_of_one_encoder(self.recipe)
        return changes | ({"adapt": adaptation.model_dump(mode="json")} if adaptation else {})

    def _quick_changes(self, recipe: str) -> Changes:
        """Sizes at which a row takes seconds."""
        if not self.quick:
            return {}
        best, sizes = recipe != FAITHFUL, {"steps": 30, "batch_size": 16}
        changes: Changes = {}
        if not self.encoder:
            ensemble = best and self.recipe.fit is not None and self.recipe.fit.name == "each"
            changes |= {f"fit.of.{name}" if ensemble else f"fit.{name}": value for name, value in sizes.items()}
        if best and (self.recipe.adapt or self.encoder):
            changes |= {f"adapt.{name}": value for name, value in sizes.items()}
        return changes | {
            "generator.width": 8,
            "discriminator.width": 8,
            "train.steps": 30,
            "train.batch_size": 16,
            "train.log_every": 5,
        }


def fit_of_one_encoder(recipe: Recipe) -> Part:
    """The fit of f; of an ensemble, that of its first encoder."""
    assert recipe.fit is not None
    return recipe.fit.options["of"] if recipe.fit.name == "each" else recipe.fit


def subset(domain: Mapping[str, Any], **options: Any) -> Changes:
    """Part of a domain."""
    return {"name": "subset", "of": dict(domain), **options}
