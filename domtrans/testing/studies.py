"""Checks of studies."""

from __future__ import annotations

from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override
from domtrans.studies.study import Study
from domtrans.testing.contracts import Subject, examine

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check


def check_study(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a study against its contracts, without running it.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the study.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("study", where, name, options)
    with subject.works("study-whole", "it is built"):
        study = subject.build()
    subject.require(isinstance(study, Study), "study-whole", f"it returns a {type(study).__name__}")
    if where is subject.registry or hasattr(where, "registry"):
        subject.require(study.name == subject.entry.name, "study-whole", f"its Study is called '{study.name}'")
    for row in study.rows():
        check_row(subject, row.name, row.recipe, dict(row.changes))


def check_row(subject: Subject, name: str, recipe: str, changes: dict[str, Any]) -> None:
    """Check that the recipe of a row is installed and accepts the changes."""
    subject.require(
        recipe in subject.registry.names("recipe"), "study-whole", f"the recipe '{recipe}' of its row '{name}' is not installed"
    )
    try:
        override(find_recipe(recipe, subject.registry), changes, subject.registry)
    except DomtransError as error:
        subject.require(False, "study-resolves", f"its row '{name}' does not resolve: {error}")
