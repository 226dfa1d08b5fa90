"""Any content of a recipe file or of a mapping of changes gives a recipe or an error of one sentence."""

import json
import os

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domtrans import DomtransError, Recipe, find_recipe, override
from tiny import registry

BASE = find_recipe("digits-dtn", registry())
WORDS = sorted(
    {entry.name for entry in registry()} | set(Recipe.model_fields) | {"name", "options", "weight", "extends", "none"}
)
TEXT = st.text(max_size=6) | st.sampled_from(WORDS)
PLAIN = st.none() | st.booleans() | st.integers() | st.sampled_from([-1, 2**63, 2**70, 10**4000, 1e308]) | st.floats() | TEXT
TREES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12)
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""Number of random cases for a long run; by default a few, always the same."""
CHECKS = settings(
    max_examples=EXAMPLES or 120,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
    database=None,
)


def places(node, path=()):
    """The paths of all values of a tree."""
    yield path
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from places(node[key], (*path, key))


PLACES = sorted(set(places(BASE.model_dump(mode="json"))) - {()}, key=str)


@st.composite
def broken_recipes(draw):
    """A valid recipe in which some values are replaced, removed or added."""
    data = BASE.model_dump(mode="json")
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        node = data
        try:
            for step in path[:-1]:
                node = node[step]
            match draw(st.sampled_from(["replace", "remove", "add"])):
                case "replace":
                    node[path[-1]] = draw(TREES)
                case "remove":
                    del node[path[-1]]
                case "add":
                    node[draw(TEXT)] = draw(TREES)
        except (TypeError, LookupError):
            continue
    return data


def outcome(make):
    """Check that the outcome is a recipe that is equal when it is read back, or an error of one line."""
    try:
        recipe = make()
    except DomtransError as error:
        assert 0 < len(str(error)) <= 2000 and str(error).isprintable()
        return
    assert Recipe.model_validate(json.loads(recipe.to_json())).resolve(registry()) == recipe


@CHECKS
@given(st.one_of(broken_recipes(), st.dictionaries(TEXT, TREES, max_size=5), TREES), st.sampled_from(["json", "toml"]))
def test_any_tree_in_a_file(tmp_path_factory, data, ending):
    path = tmp_path_factory.getbasetemp() / f"fuzzed.{ending}"
    try:
        text = json.dumps(data) if ending == "json" else tomli_w.dumps(without_none(data))
        path.write_text(text, encoding="utf-8")
    except (TypeError, ValueError, AttributeError):
        return  # cannot be written in this format
    outcome(lambda: find_recipe(str(path), registry()))


@CHECKS
@given(st.dictionaries(st.sampled_from(PLACES).map(lambda path: ".".join(map(str, path))) | TEXT, TREES, max_size=4))
def test_any_mapping_of_changes(changes):
    outcome(lambda: override(BASE, changes, registry()))


@CHECKS
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_in_a_file(tmp_path_factory, content):
    for ending in ("json", "toml"):
        path = tmp_path_factory.getbasetemp() / f"bytes.{ending}"
        path.write_bytes(content)
        outcome(lambda path=path: find_recipe(str(path), registry()))


@CHECKS
@given(st.text(max_size=300))
def test_any_name(name):
    outcome(lambda: find_recipe(name, registry()))


def test_a_path_into_a_table_that_was_emptied_fills_it_from_the_defaults():
    recipe = override(BASE, ["train={}", "train.discriminator_optimizer.lr=0.5"], registry())
    assert recipe.train.discriminator_optimizer.lr == 0.5 and recipe.train.steps == 1000


def nested(depth, inner):
    for _ in range(depth):
        inner = {"name": "weighted", "terms": [inner]}
    return inner


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("deep.json", "[" * 100_000, "deep.json"),
        ("deep.json", '{"a":' * 100_000, "deep.json"),
        ("deep.json", '{"source":' + "[" * 400 + "]" * 400 + "}", "nested more than 50 levels deep"),
        ("deep.json", json.dumps({"extends": "digits-dtn", "fit": {"name": "x", "a": nested(40, "mse")}}), "nested more than"),
        ("wide.json", '{"a": [' + "0," * 200_000 + "0]}", "more than 100,000 values"),
        ("long.json", '{"seed": ' + "9" * 5000 + "}", "long.json"),
        ("long.toml", "seed = 0x" + "f" * 5000, "an integer has 20,000 bits"),
        ("long.json", '{"' + "k" * 1_000_000 + '": 1}', "long.json"),
        ("deep.toml", "a = " + "[" * 100_000, "deep.toml"),
        ("large.json", " " * (2**24 + 1), "not a regular file of at most"),
    ],
)
def test_files_made_to_break_a_reader(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DomtransError, match=message):
        find_recipe(str(tmp_path / name), registry())


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 5000 + ".toml", "\0", "a\0.json", "\ud800", "..", "/", "-", "\n.toml"])
def test_names_made_to_break_a_reader(name):
    with pytest.raises(DomtransError) as caught:
        find_recipe(name, registry())
    assert str(caught.value).isprintable()


def test_a_chain_of_files_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(60):
        (tmp_path / f"{number}.toml").write_text(f"extends = '{number + 1}.toml'")
    with pytest.raises(DomtransError, match="a chain of more than 50 files"):
        find_recipe("0.toml", registry())


def without_none(value):
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value if item is not None] if isinstance(value, list) else value
