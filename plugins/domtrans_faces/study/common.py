"""Settings that all rows of the study share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domtrans import DomtransError, Row
from domtrans_faces import recipes

Changes = dict[str, Any]

BEST, FAITHFUL, PHOTOS = "faces-dtn", "faces-dtn-paper", "lfw-dtn"

WEIGHTS = {
    "mobilefacenet": "mobilefacenet*.safetensors",
    "dlib-resnet": "dlib_resnet*.safetensors",
    "sphereface": "sphere20a*.pth",
    "openface": "openface*.pth",
    "timm": "resnet18*.safetensors",
}
"""Encoders with published weights, and the pattern of their files."""


class CommonSettings:
    """Data, encoder, metrics and sizes that all rows share, and the rows built from them."""

    def __init__(self, data_dir: str | None, encoder: str | None, quick: bool) -> None:
        self.encoder, self.quick = encoder, quick
        folder = None if data_dir is None else Path(data_dir)
        if folder is not None and not folder.is_dir():
            raise DomtransError(f"there is no folder {folder}; give a folder with photographs or weights, or omit --data-dir")
        sizes: Changes = {"count": 64, "test_count": 32} if quick else {}
        self.source: Changes = {"name": "portraits", **sizes}
        self.target: Changes = {"name": "avatars", **sizes}
        self.weights = {name: str(found) for name, pattern in WEIGHTS.items() if (found := find(folder, pattern))}
        """Files of published weights in the folder, by encoder."""
        self.recognisers = [name for name in self.weights if name != "timm"]
        self.photographs = find(folder, "lfw*.zip") or find(folder, "lfw")
        fitted: Changes = {"steps": 4, "batch_size": 8} if quick else {}
        self.metrics: Changes = {
            "agreement": {"name": "attribute-agreement", **fitted},
            "realism": {"name": "avatar-realism", **fitted},
            "diversity": {"name": "avatar-diversity", **fitted},
        }

    def row(self, name: str, about: str, changes: Mapping[str, Any] | None = None, *, recipe: str = BEST) -> Row:
        """A row: the shared settings, then its own changes."""
        data = {"source": self.source, "target": self.target, "metrics": self.metrics}
        loaded = {"encoder.weights": self.encoder, "fit": "none", "adapt": "none"} if self.encoder else {}
        return Row(name, about, recipe, data | self.quick_changes(fits=not self.encoder) | loaded | dict(changes or {}))

    def best(self) -> Row:
        """The first row of every table."""
        return self.row("best", f"The recipe {BEST}.")

    def photo_row(self, encoder: str) -> Row:
        """A row with photographs as the source and a recogniser as f."""
        source = {"name": "lfw", "path": str(self.photographs)} | ({"count": 300} if self.quick else {})
        metrics = {
            "identity": {"name": "identity-retrieval"},
            "likeness": {"name": "photo-likeness"},
            "diversity": self.metrics["diversity"],
        }
        changes = {"source": source, "target": self.target, "metrics": metrics} | self.quick_changes(fits=False)
        f = {"encoder": {"name": encoder, "path": self.weights[encoder]}}
        return Row(f"photos-{encoder}", f"f is {encoder}.", PHOTOS, changes | f)

    def quick_changes(self, *, fits: bool) -> Changes:
        """Sizes at which a row takes seconds."""
        if not self.quick:
            return {}
        fit = {"fit.steps": 4, "fit.batch_size": 8} if fits else {}
        train = {"train.steps": 6, "train.batch_size": 8, "train.log_every": 2}
        return {"image_size": 32, "generator.width": 8, "discriminator.width": 8} | fit | train


def find(folder: Path | None, pattern: str) -> Path | None:
    """The alphabetically first file or folder below a folder that matches a pattern."""
    return min(folder.rglob(pattern), default=None) if folder is not None else None


def without_heads() -> Changes:
    """Changes for an f without attribute heads: its features are compared, and D is unconditional."""
    unconditional = {"adapt": "none", "train.balance_source": False, "discriminator.classes": 0}
    return {"fit": "none", "generator_losses.const": recipes.COSINE_CONST.model_dump(mode="json")} | unconditional
