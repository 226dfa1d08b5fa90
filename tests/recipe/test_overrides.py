"""Changes to a recipe by path, the differences between recipes, and what is refused."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domtrans import DomtransError, Recipe, find_recipe, override, use
from domtrans.recipe.overrides import Difference, differences
from tiny import registry

BASE = find_recipe("digits-dtn-paper", registry())
VIEWED = find_recipe("digits-dtn", registry())


def changed(*assignments, base=BASE):
    return override(base, assignments, registry())


def at(recipe, path):
    node = recipe.model_dump(mode="json")
    for step in path.split("."):
        node = node[step]
    return node


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("seed=7", 7),
        ("train.steps=20", 20),
        ("train.ema=0", 0),
        ("train.updates=separate", "separate"),
        ("train.balance_source=true", True),
        ("train.generator_optimizer.name=sgd", "sgd"),
        ("train.generator_optimizer.betas=[0.9, 0.99]", [0.9, 0.99]),
        ("train.discriminator_optimizer.lr=1e-3", 1e-3),
        ("train.discriminator_optimizer.weight_decay=0.1", 0.1),
        ("source.count=500", 500),
        ("generator.width=16", 16),
        ("discriminator.norm=none", "none"),
        ("encoder.weights=some.safetensors", "some.safetensors"),
        ("generator_losses.const.weight=3", 3),
        ("generator_losses.const.start=0.25", 0.25),
        ("generator_losses.const.of=target", "target"),
        ("generator_losses.const.distance.name=cosine", "cosine"),
        ("fit.view.name=warp", None),
        ('description="a = b"', "a = b"),
        ("description=a = b", "a = b"),
        ("name=", ""),
    ],
)
def test_any_option_by_path(assignment, value):
    path = assignment.partition("=")[0]
    if value is None:
        with pytest.raises(DomtransError, match="takes no options"):
            changed(assignment)
    else:
        assert at(changed(assignment), path) == value


def test_a_part_by_name_drops_the_options_of_the_one_it_replaces():
    assert at(changed("source=mnist-5k", base=changed("source.count=123")), "source") == {"name": "mnist-5k"}


def test_a_part_as_a_table_brings_its_options_along():
    recipe = changed('source={"name": "street-digits", "count": 9}')
    assert at(recipe, "source") == {"name": "street-digits", "count": 9, "test_count": 2000, "seed": 0}


@pytest.mark.parametrize("assignments", [("fit=self-training", "fit.steps=5"), ("fit.steps=5", "fit=self-training")])
def test_a_part_is_set_before_its_options_in_any_order(assignments):
    recipe = changed(*assignments)
    assert (at(recipe, "fit.name"), at(recipe, "fit.steps")) == ("self-training", 5)


def test_a_table_that_is_passed_is_not_changed():
    table = {"name": "digit-generator"}
    override(BASE, {"generator": table, "generator.width": 8}, registry())
    assert table == {"name": "digit-generator"}


def test_an_option_that_the_part_of_the_same_command_does_not_have_is_refused():
    with pytest.raises(DomtransError, match="count"):
        changed("source.count=123", "source=mnist-5k")


def test_a_second_name_of_a_part_replaces_the_first_with_its_options():
    assert at(changed("source=street-digits", "source.count=123", "source=mnist-5k"), "source") == {"name": "mnist-5k"}


def test_the_last_of_two_values_counts():
    assert at(changed("train.steps=5", "train.steps=6"), "train.steps") == 6


def test_another_loss_keeps_the_weight_and_the_span_of_its_term():
    recipe = changed("generator_losses.const.stop=0.5", "generator_losses.const=target-identity")
    found = at(recipe, "generator_losses.const")
    assert (found["name"], found["weight"], found["start"], found["stop"]) == ("target-identity", 15, 0, 0.5)
    assert "of" not in found


def test_another_part_keeps_no_option_of_the_part_before_even_of_the_same_name():
    assert "weight" in at(VIEWED, "fit")
    assert at(changed("fit=classifier", base=VIEWED), "fit") == at(changed("fit=none", "fit=classifier", base=VIEWED), "fit")


def test_terms_are_added_and_removed():
    recipe = changed("generator_losses.tv=total-variation", "generator_losses.tv.weight=0.01", "generator_losses.tid=none")
    assert list(recipe.generator_losses) == ["gan", "const", "tv"]
    assert recipe.generator_losses["tv"].weight == 0.01
    assert "gan" not in changed("discriminator_losses.gan=null").discriminator_losses


def test_nested_distances_take_options():
    recipe = changed("generator_losses.const.distance=cross-entropy", "generator_losses.const.distance.temperature=2")
    assert at(recipe, "generator_losses.const.distance") == {"name": "cross-entropy", "temperature": 2, "sharpen": 1}
    recipe = changed("generator_losses.const.distance=cross-entropy", base=recipe)
    assert at(recipe, "generator_losses.const.distance") == {"name": "cross-entropy", "temperature": 1, "sharpen": 1}


def test_a_nested_distance_of_distances():
    value = '{"name": "weighted", "terms": ["mse", {"name": "cross-entropy", "temperature": 2}], "weights": [1, 2]}'
    found = at(changed(f"generator_losses.const.distance={value}"), "generator_losses.const.distance")
    assert found["terms"] == [{"name": "mse"}, {"name": "cross-entropy", "temperature": 2, "sharpen": 1}]


@pytest.mark.parametrize("word", ["none", "null"])
@pytest.mark.parametrize("path", ["fit", "view", "source_augmentation"])
def test_none_removes_an_optional_part(path, word):
    assert getattr(changed(f"{path}={word}", base=VIEWED), path) is None


@pytest.mark.parametrize("word", ["none", "null", "{}"])
def test_none_removes_all_parts_of_a_table(word):
    assert changed(f"metrics={word}").metrics == {} and override(BASE, {"metrics": None}, registry()).metrics == {}


def test_none_removes_a_nested_optional_part():
    assert at(VIEWED, "fit.source_view.name") == "chain"
    for word in ("none", "null"):
        assert at(changed(f"fit.source_view={word}", base=VIEWED), "fit.source_view") is None
        assert at(changed("fit=self-training", f"fit.source_view={word}"), "fit.source_view") is None


def test_none_is_a_word_where_an_option_has_it():
    assert at(changed("discriminator=patch-discriminator", "discriminator.norm=none"), "discriminator.norm") == "none"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trian.steps=3", r"no option 'trian.steps' \(did you mean 'train'\?\)"),
        ("train.stps=3", r"did you mean 'steps'"),
        ("train.steps.more=3", "'steps' is a plain value"),
        ("seed.x=3", "plain value"),
        ("generator.widht=3", r"generator 'digit-generator': there is no option 'widht' \(did you mean 'width'\?\)"),
        ("source=street-digit", r"no domain 'street-digit' \(did you mean 'street-digits'\?\)"),
        ("generator_losses.const.distance=cosin", "did you mean 'cosine'"),
        ("generator_losses.const=feature-consistancy", "did you mean 'feature-consistency'"),
        ("generator_losses.const.distance.temp=1", "distance 'mse': there is no option 'temp'"),
        ("generator_losses.new.weight=2", "set the part first: generator_losses.new=NAME"),
        ("view.steps=[]", "set the part first: view=NAME"),
        ("source=none", "source"),
        ("source=3", "source"),
        ("source.name=3", "source"),
        ("source.options=3", "source"),
        ("train=5", "train"),
        ("train.steps=0", "train.steps.*greater than 0, not 0"),
        ("train.steps=1.5", "train.steps"),
        ("train.steps=many", "not 'many'"),
        ("train.steps=" + "9" * 5000, "train.steps"),
        ("train.batch_size=1", "train.batch_size"),
        ("train.ema=1", "train.ema"),
        ("train.ema=NaN", "train.ema"),
        ("train.generator_optimizer.lr=Infinity", "finite"),
        ("train.generator_optimizer.lr=-1", "greater than 0"),
        ("train.generator_optimizer.name=adm", "adam"),
        ("train.generator_optimizer.betas=[0.5]", "betas"),
        ("train.updates=apart", "joint"),
        ("generator_losses.const.weight=-1", "weight"),
        ("generator_losses.const.start=2", "start"),
        ("generator_losses=none", "g needs at least one loss"),
        ('source={"cuont": 5}', "there is no option 'cuont' .did you mean 'count'"),
        ("generator_losses={}", "g needs at least one loss"),
        ("image_size=0", "image_size"),
        ("seed=-1", "seed"),
        ("steps", "not of the form path=value"),
        ("=3", "not of the form path=value"),
        ("train..steps=3", "no option"),
        (".train=3", "no option"),
        ("generator_losses.=mse", "generator_losses"),
        ("generator_losses.const.=3", "feature-consistency"),
    ],
)
def test_an_error_is_one_clear_sentence(assignment, message):
    with pytest.raises(DomtransError, match=message) as caught:
        changed(assignment)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "assignments",
    [
        ("train=5", "train.steps=3"),
        ("train.generator_optimizer=[]", "train.generator_optimizer.lr=1"),
        ("source=5", "source.path=x"),
        ("source=[]", "source.path.x=x"),
        ("generator_losses=5", "generator_losses.const=x"),
        ("generator_losses=null", "generator_losses.const=none"),
        ("generator_losses.const=5", "generator_losses.const=feature-consistency"),
        ("generator_losses.const=5", "generator_losses.const.weight=1"),
    ],
)
def test_a_path_through_a_value_that_was_just_replaced_is_refused_or_replaces_it(assignments):
    try:
        assert isinstance(changed(*assignments), Recipe)
    except DomtransError as error:
        assert "\n" not in str(error)


def test_removing_all_losses_of_g_is_refused():
    with pytest.raises(DomtransError, match="at least one loss"):
        changed(*(f"generator_losses.{name}=none" for name in BASE.generator_losses))


def test_a_mapping_is_equal_to_strings():
    by_mapping = override(BASE, {"train.steps": 9, "source": use("mnist-5k").model_dump()}, registry())
    assert by_mapping == changed("train.steps=9", "source=mnist-5k")


def test_the_given_recipe_is_not_changed():
    before = BASE.to_json()
    changed("train.steps=9", "generator_losses.const.distance=cosine", "generator_losses.tid=none")
    assert BASE.to_json() == before


def test_differences_name_path_and_both_values():
    new = changed("train.steps=9", "generator_losses.const.distance=cosine", "generator_losses.tid=none")
    found = differences(BASE, new)
    assert Difference("train.steps", 600, 9) in found and "train.steps: 600 -> 9" in map(str, found)
    assert Difference("generator_losses.const.distance.name", "mse", "cosine") in found
    assert any(one.path.startswith("generator_losses.tid.") and one.new == "absent" for one in found)
    assert differences(BASE, BASE) == []


def test_none_differs_from_an_absent_value():
    assert differences(BASE, changed("view=blur")) and differences(changed("view=blur"), BASE)


def paths(node, prefix=""):
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


KNOWN = sorted(set(paths(VIEWED.model_dump(mode="json"))))
NAMES = [*sorted({entry.name for entry in registry()}), "none", "true", "null", "[]", "{}", '"x"', "-1", "0", "0.5", "3"]
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.sampled_from(["name", "options"]), inner, max_size=3),
    max_leaves=4,
)
PATHS = st.sampled_from(KNOWN) | st.builds(lambda a, b: f"{a}.{b}", st.sampled_from(KNOWN), TEXT) | TEXT
VALUES = st.sampled_from(NAMES) | JSON.map(json.dumps) | TEXT
ASSIGNMENTS = st.lists(st.builds(lambda path, value: f"{path}={value}", PATHS, VALUES) | TEXT, min_size=1, max_size=4)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(ASSIGNMENTS)
def test_any_assignment_gives_a_recipe_or_one_sentence(assignments):
    try:
        recipe = changed(*assignments, base=VIEWED)
    except DomtransError as error:
        assert str(error)
        return
    assert Recipe.model_validate(json.loads(recipe.to_json())).resolve(registry()) == recipe


def test_a_table_of_options_changes_these_options_alone():
    whole = changed("train.steps=9", "train.batch_size=64", "source.count=5", "generator_losses.const.weight=4")
    nested = {
        "train": {"steps": 9, "batch_size": 64},
        "source": {"count": 5},
        "generator_losses": {"const": {"weight": 4}},
    }
    for tables in (nested, [f"{path}={json.dumps(value)}" for path, value in nested.items()]):
        assert override(BASE, tables, registry()) == whole
    assert at(changed('train.generator_optimizer={"lr": 0.5}'), "train.generator_optimizer.betas") == at(
        BASE, "train.generator_optimizer.betas"
    )
    replaced = override(BASE, {"metrics": {"only": "f-consistency"}}, registry())
    assert list(replaced.metrics) == ["only"]
    for empty in ({"metrics": None}, {"metrics": {}}, ["metrics=none"]):
        assert override(BASE, empty, registry()).metrics == {}
    assert override(BASE, None, registry()) == override(BASE, {}, registry()) == BASE
    with pytest.raises(DomtransError, match=r"changes are a list .* so write \['train.steps=3'\]"):
        override(BASE, "train.steps=3", registry())
