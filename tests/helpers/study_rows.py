"""Studies, their rows, and the recipes of the rows."""

from domtrans import Recipe, Row, Study, find_recipe, override
from domtrans.studies.study import find_study
from domtrans.studies.tables import assignments
from tiny import registry


def study_of(name: str, **options: object) -> Study:
    """A registered study with options."""
    return find_study(name, options, registry())


def rows_of(name: str, **options: object) -> dict[str, Row]:
    """The rows of a study by name."""
    return {row.name: row for row in study_of(name, **options).rows()}


def recipe_of(row: Row, *changes: str) -> Recipe:
    """The recipe of a row, with further changes."""
    return override(find_recipe(row.recipe, registry()), [*assignments(row.changes), *changes], registry())
