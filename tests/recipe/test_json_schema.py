"""The JSON Schema of recipe files: it accepts every shipped recipe, and says what is wrong with a wrong one."""

import copy
import json
import tomllib

import pytest

from commands import in_process
from domtrans import hookimpl, load_plugins, recipe_schema
from domtrans.recipe.files import find_recipe, to_toml
from tiny import registry

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema, which checks the schema, is not installed")


@pytest.fixture(scope="module")
def validator():
    schema = recipe_schema(registry())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def faults(validator, text):
    data = tomllib.loads(text) if isinstance(text, str) else text
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(data)]


@pytest.mark.parametrize("name", registry().names("recipe"))
def test_every_shipped_recipe_is_accepted(validator, name):
    recipe = find_recipe(name, registry())
    assert not faults(validator, to_toml(recipe, registry()))
    assert not faults(validator, json.loads(recipe.to_json())), "a JSON file may have null, TOML has none"


@pytest.mark.parametrize(
    "text",
    [
        'extends = "digits-dtn"',
        'extends = "mine.toml"\nname = "mine"\n[train]\nsteps = 50',
        'extends = "digits-dtn"\nsource = "svhn"\n[generator_losses.const]\nweight = 3',
        'extends = "digits-dtn"\n[source]\nname = "folder"\npath = "photos"\n[encoder]\nweights = "models:digits-dtn"',
    ],
)
def test_a_file_that_extends_another_names_what_differs(validator, text):
    assert not faults(validator, text)


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("train.step", 3, "train: Additional properties are not allowed ('step' was unexpected)"),
        ("train.batch_size", "many", "train.batch_size: 'many' is not of type 'integer'"),
        ("train.batch_size", 1, "train.batch_size: 1 is less than the minimum of 2"),
        ("train.generator_optimizer.betas", [0.5, 2], "train.generator_optimizer.betas.1: 2 is greater than or equal to"),
        ("source", "svnh", "source: 'svnh' is not one of ["),
        ("source.name", "svnh", "source.name: 'svnh' is not one of ["),
        ("source.cuont", 3, "source: 'cuont' is not one of ['name', 'count'"),
        ("encoder.weights", 3, "encoder.weights: 3 is not valid under any of the given schemas"),
        ("generator_losses.const.wieght", 3, "generator_losses.const: 'wieght' is not one of ['name', 'weight', 'start'"),
        ("generator_losses.const.distance", "msee", "generator_losses.const.distance: 'msee' is not one of ["),
        ("generator_losses.const.distance", {"name": "mse", "a": 1}, "generator_losses.const.distance: 'a' is not one of ["),
        ("generator", None, "'generator' is a required property"),
        ("generator", {"width": 3}, "generator: 'name' is a required property"),
        ("losses", {}, "Additional properties are not allowed ('losses' was unexpected)"),
    ],
)
def test_a_wrong_recipe_is_refused_where_it_is_wrong(validator, path, value, message):
    recipe = copy.deepcopy(tomllib.loads(to_toml(find_recipe("digits-dtn", registry()), registry())))
    *tables, key = path.split(".")
    table = recipe
    for step in tables:
        table = table[step]
    if value is None:
        del table[key]
    else:
        table[key] = value
    found = faults(validator, recipe)
    assert any(message in fault for fault in found), found


def test_a_json_file_may_name_its_schema(validator, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"$schema": "./domtrans.schema.json", "extends": "digits-dtn", "seed": 3}))
    assert find_recipe(str(file), registry()).seed == 3 and not faults(validator, json.loads(file.read_text()))


def test_every_field_and_option_is_described():
    schema = recipe_schema(registry())
    train = schema["properties"]["train"]["properties"]
    assert train["steps"]["description"] == "Training steps." and train["steps"]["default"] == 1000
    adam = schema["definitions"]["recipe-optimizer.adam"]["properties"]
    fields = [schema["properties"], train, train["health"]["properties"], adam]
    assert all(field.get("description") for table in fields for name, field in table.items() if name not in ("health",))
    weight = schema["definitions"]["term.feature-consistency"]["properties"]["weight"]
    assert weight["description"].startswith("Factor of the loss") and weight["minimum"] == 0


def test_the_parts_of_a_plugin_are_in_it():
    class Plugin:
        @hookimpl
        def register(self, registry):
            registry.domain("dots", dots)

    def dots(split, size, *, count: int, shape: object = None):
        """Dots.

        Args:
            count: Number of dots.
        """

    definitions = recipe_schema(load_plugins(Plugin()).registry)["definitions"]
    assert definitions["domain.dots"]["required"] == ["name", "count"]
    assert definitions["domain.dots"]["properties"]["count"] == {"type": "integer", "description": "Number of dots"}
    assert definitions["domain.dots"]["properties"]["shape"] == {}, "domtrans alone checks what no schema can say"


def test_the_command_prints_it(capsys):
    code, out, _ = in_process(capsys, "show", "--schema")
    printed, expected = json.loads(out), recipe_schema(registry())
    for name, definition in expected["definitions"].items():
        assert printed["definitions"].get(name) == definition, name
    assert code == 0 and printed == expected
    code, _, err = in_process(capsys, "show", "digits-dtn", "--schema")
    assert code == 2 and "leave out digits-dtn" in err
    code, _, err = in_process(capsys, "show")
    assert code == 2 and "or a kind of part (domain, encoder, " in err
