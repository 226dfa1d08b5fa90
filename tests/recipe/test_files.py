"""Recipes in TOML and JSON files, which may extend other recipes."""

import json

import pytest

from domtrans import DomtransError, find_recipe, override
from tiny import registry

BASE = find_recipe("digits-dtn-paper", registry())


def changed(*assignments, base=BASE):
    return override(base, assignments, registry())


def test_a_run_s_own_recipe_file_and_its_folder_repeat_it(tmp_path):
    (tmp_path / "recipe.json").write_text(changed("train.steps=9").to_json())
    for name in (tmp_path / "recipe.json", tmp_path):
        assert find_recipe(str(name), registry()) == changed("train.steps=9")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["mine.toml", "mine.json"])
def test_a_file_may_have_a_byte_order_mark(tmp_path, name, encoding):
    json_text = json.dumps({"name": "mine", "extends": "digits-dtn-paper", "description": "größer"}, ensure_ascii=False)
    toml_text = 'name = "mine"\nextends = "digits-dtn-paper"\ndescription = "größer"\n'
    (tmp_path / name).write_text(json_text if name == "mine.json" else toml_text, encoding=encoding)
    assert find_recipe(str(tmp_path / name), registry()) == changed("name=mine", "description=größer")


def test_a_file_in_another_encoding_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "mine.toml").write_text('description = "größer"', encoding="latin-1")
    with pytest.raises(DomtransError, match=r"mine\.toml is not UTF-8 text; save it as UTF-8"):
        find_recipe(str(tmp_path / "mine.toml"), registry())


TOML = """
name = "mine"
extends = "digits-dtn-paper"
fit = "self-training"
[source]
count = 500
[train]
steps = 7
generator_optimizer.lr = 0.01
[generator_losses]
tid = "none"
tv = {name = "total-variation", weight = 0.5}
[generator_losses.const]
weight = 2
distance = {name = "cross-entropy", temperature = 3}
"""


def test_a_toml_file_extends_a_recipe_by_what_differs(tmp_path):
    (tmp_path / "mine.toml").write_text(TOML)
    found = find_recipe(str(tmp_path / "mine.toml"), registry())
    wanted = changed(
        "name=mine",
        "description=",
        "fit=self-training",
        "source.count=500",
        "train.steps=7",
        "train.generator_optimizer.lr=0.01",
        "generator_losses.tid=none",
        "generator_losses.tv=total-variation",
        "generator_losses.tv.weight=0.5",
        "generator_losses.const.weight=2",
        "generator_losses.const.distance=cross-entropy",
        "generator_losses.const.distance.temperature=3",
    )
    assert found == wanted


def test_json_files_and_files_that_extend_files(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"extends": "digits-dtn-paper", "train": {"steps": 8}}))
    (tmp_path / "b.toml").write_text(f'extends = "{tmp_path / "a.json"}"\nseed = 3\n')
    assert find_recipe(str(tmp_path / "b.toml"), registry()) == changed("train.steps=8", "seed=3")


def test_a_whole_recipe_in_toml(tmp_path):
    text = """
        name = "whole"
        source = "street-digits"
        target = "mnist-5k"
        encoder = "digit-encoder"
        generator = {name = "digit-generator", width = 8}
        discriminator = "digit-discriminator"
        [generator_losses]
        gan = "ternary-generator"
        [discriminator_losses]
        gan = "ternary-discriminator"
    """
    (tmp_path / "whole.toml").write_text(text)
    recipe = find_recipe(str(tmp_path / "whole.toml"), registry())
    assert recipe.fit is None and recipe.generator.options["width"] == 8 and recipe.source.options["count"] == 20_000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "name = ", "not valid TOML"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.json", "[1]", "must hold a table, not list"),
        ("a.toml", 'name = "only"', "option 'source' must be given"),
        ("a.toml", "extends = 3", "extends must be the name of a recipe, not 3"),
        ("a.toml", 'extends = "digits-dtn-papr"', r"recipe file .*a.toml: extends: .*did you mean 'digits-dtn-paper'"),
        ("a.toml", 'extends = "no.json"', r"recipe file .*a.toml: extends: there is no recipe file no.json"),
        ("a.toml", 'extends = "."', r"recipe file .*a.toml: extends: \. is a folder, and neither a recipe nor a run"),
        ("a.toml", 'extends = "digits-dtn-paper"\n[trian]\nsteps = 3', "did you mean 'train'"),
        ("a.toml", 'extends = "digits-dtn-paper"\n[trian]', "did you mean 'train'"),
        ("a.toml", 'extends = "digits-dtn-paper"\ntrain = 3', "'train': input should be a table of options, not 3"),
        ("a.toml", 'extends = "digits-dtn-paper"\nmetrics = 3', "'metrics': input should be a table, not 3"),
        (
            "a.toml",
            'extends = "digits-dtn-paper"\nencoder = 3',
            "'encoder': .* a name or a table of options, not 3",
        ),
        ("a.toml", 'extends = "digits-dtn-paper"\n[seed]\nx = 3', "plain value"),
        ("a.json", json.dumps({"extends": "digits-dtn-paper", "seed": float("nan")}), "seed"),
        ("a.json", '{"extends": "digits-dtn-paper", "seed": ' + "1" * 5000 + "}", "a.json"),
        ("a.toml", "\x00", "not valid TOML"),
    ],
)
def test_a_bad_file_is_one_clear_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DomtransError, match=message):
        find_recipe(str(tmp_path / name), registry())


def test_bytes_that_are_no_text_and_missing_files(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DomtransError, match="is not UTF-8 text"):
        find_recipe(str(tmp_path / "a.toml"), registry())
    with pytest.raises(DomtransError, match="there is no recipe file"):
        find_recipe(str(tmp_path / "b.toml"), registry())
    with pytest.raises(DomtransError, match=r"no recipe 'digits-dnt' \(did you mean 'digits-dtn'\?\)"):
        find_recipe("digits-dnt", registry())


def test_files_that_extend_each_other_are_refused(tmp_path):
    a, b = tmp_path / "a.toml", tmp_path / "b.toml"
    a.write_text(f'extends = "{b}"')
    b.write_text(f'extends = "{a}"')
    with pytest.raises(DomtransError, match="extend one another in a circle"):
        find_recipe(str(a), registry())


@pytest.mark.parametrize("text", ["metrics = {}", "[metrics]", 'metrics = "none"'])
def test_an_empty_table_of_parts_in_a_file_empties_it(tmp_path, text):
    (tmp_path / "a.toml").write_text(f'extends = "digits-dtn-paper"\n{text}\n')
    assert BASE.metrics and find_recipe(str(tmp_path / "a.toml"), registry()) == changed("metrics={}")


def test_a_recipe_that_extends_under_another_name_needs_its_own_description(tmp_path):
    for text, description in (
        ("seed = 1", BASE.description),
        (f'name = "{BASE.name}"', BASE.description),
        ('name = "mine"', ""),
        ('name = "mine"\ndescription = "my own"', "my own"),
    ):
        (tmp_path / "a.toml").write_text(f'extends = "digits-dtn-paper"\n{text}\n')
        assert find_recipe(str(tmp_path / "a.toml"), registry()).description == description


def test_an_empty_table_of_a_part_or_of_training_options_in_a_file_changes_nothing(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "digits-dtn-paper"\n[train]\n[generator_losses.const]\n')
    assert find_recipe(str(tmp_path / "a.toml"), registry()) == BASE
