"""Recipes as data."""

import json
import subprocess
import sys

import pytest

from domtrans import Recipe, find_recipe, term
from tiny import registry


@pytest.mark.parametrize("name", registry().names("recipe"))
def test_a_resolved_recipe_survives_json(name):
    recipe = find_recipe(name, registry())
    again = Recipe.model_validate(json.loads(recipe.to_json()))
    assert again == recipe and again.resolve(registry()) == recipe
    assert again.to_json() == recipe.to_json()


def test_use_and_term_check_their_arguments():
    assert term("x", weight=2, distance="mse").options == {"distance": "mse"}
    with pytest.raises(ValueError, match="weight"):
        term("x", weight=-1)


def test_recipes_are_read_without_torch():
    """Completion and ``domtrans show`` need them, and torch takes seconds to import."""
    modules = "domtrans.recipe.schema, domtrans.recipe.overrides, domtrans.recipe.files"
    check = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
