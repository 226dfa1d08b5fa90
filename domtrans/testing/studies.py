"""Checks of studies."""

from __future__ import annotations

from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override
from domtrans.studies.study import Study
from domtrans.testing.contracts import Subject, examine


def check_study(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a study against its contracts, without running it.

    Raises AssertionError, quoting the contract, for the first that does not hold.
    """
    subject = examine("study", where, name, options)
    with subject.works("study-whole", "built"):
        study = subject.build()
    subject.require(isinstance(study, Study), "study-whole", f"it gives a {type(study).__name__}")
    if where is subject.registry or hasattr(where, "registry"):
        subject.require(study.name == subject.entry.name, "study-whole", f"its Study is called '{study.name}'")
    for row in study.rows():
        check_row(subject, row.name, row.recipe, dict(row.changes))


def check_row(subject: Subject, name: str, recipe: str, changes: dict[str, Any]) -> None:
    """The recipe is there, and takes the changes."""
    subject.require(recipe in subject.registry.names("recipe"), "study-whole", f"its row '{name}' has the recipe '{recipe}'")
    try:
        override(find_recipe(recipe, subject.registry), changes, subject.registry)
    except DomtransError as error:
        subject.require(False, "study-resolves", f"its row '{name}' does not resolve: {error}")
