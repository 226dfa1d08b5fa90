"""show KIND NAME, doctor, new-plugin, and shell completion."""

import json
import os
import subprocess
import sys

import pytest

from commands import domtrans, in_process
from domtrans.cli import completion
from installed_plugins import install
from permissions import as_anyone


def test_show_lists_a_kind_and_describes_a_part(capsys):
    code, out, _ = in_process(capsys, "show", "distance")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == [
        "distance",
        "attributes",
        "contrastive",
        "cosine",
        "cross-entropy",
        "l1",
        "mse",
        "perceptual",
        "weighted",
    ]
    code, out, _ = in_process(capsys, "show", "discriminator", "digit-discriminator")
    assert code == 0 and "takes channels, size, head_size from the engine; returns a Discriminator, D" in out
    (norm,) = [line for line in out.splitlines() if line.startswith("norm ")]
    assert "'spectral' or 'batch' or 'none'" in norm and "with one pass over real and generated images" in norm
    code, out, _ = in_process(capsys, "show", "distance", "cosine")
    assert code == 0 and "no options" in out


def test_show_json_of_a_part_and_of_a_kind(capsys):
    code, out, _ = in_process(capsys, "show", "domain", "arrays", "--json")
    part = json.loads(out)
    assert code == 0 and part["handed_in"] == ["split", "size"]
    help_of_path = part["options"][0].pop("help")
    assert part["options"][0] == {"name": "path", "type": "text", "required": True} and help_of_path.startswith("The file")
    assert {option["name"]: option.get("default") for option in part["options"]}["holdout"] == 0.125
    code, out, _ = in_process(capsys, "show", "recipe", "--json")
    assert code == 0 and {one["name"] for one in json.loads(out)} >= {"digits-dtn", "digits-dtn-paper"}


def test_show_still_shows_recipes(capsys):
    code, out, _ = in_process(capsys, "show", "digits-dtn-paper", "train.steps=7", "--json")
    assert code == 0 and json.loads(out)["train"]["steps"] == 7


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["encoder", "digit-encodr"], "there is no encoder 'digit-encodr' (did you mean 'digit-encoder'?)"),
        (["encoder", "a", "b"], "shows one encoder, not 2"),
        (["encoder", "digit-encoder", "--toml"], "--toml prints recipes"),
    ],
)
def test_show_refuses_in_one_sentence(capsys, words, sentence):
    code, out, err = in_process(capsys, "show", *words)
    assert code == 2 and sentence in err and out == ""


def test_doctor_says_what_works(capsys):
    code, out, _ = in_process(capsys, "doctor")
    assert code == 0 and "ok     torch: torch " in out and "ok     plugins: " in out


def test_doctor_says_how_to_fix_what_is_broken(capsys, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "ill", "import nowhere_at_all")
    code, out, _ = in_process(capsys, "doctor")
    assert code == 1
    lines = out.splitlines()
    (index,) = [index for index, line in enumerate(lines) if line.startswith("BROKEN plugin ill: ")]
    assert lines[index + 1].startswith("       fix: `domtrans plugins --verbose`")


def test_new_plugin_writes_a_package_and_says_what_to_do_next(capsys, tmp_path):
    code, out, _ = in_process(capsys, "new-plugin", "squares", "--kind", "loss", "--in", tmp_path)
    assert code == 0 and out.startswith(f"wrote {tmp_path / 'domtrans-squares'}; next: cd ")
    assert "registry.loss" in (tmp_path / "domtrans-squares" / "domtrans_squares.py").read_text()
    for words, sentence in (
        (["squares"], "exists already"),
        (["A b"], "cannot be the name"),
        (["mse", "--kind", "distance"], "already"),
    ):
        code, out, err = in_process(capsys, "new-plugin", *words, "--in", tmp_path)
        assert code == 2 and sentence in err and out == ""


def offered(words, incomplete=""):
    """The suggestions that the shell gets after Tab."""
    line = " ".join(["domtrans", *words, incomplete])
    environment = os.environ | {"_DOMTRANS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
    done = subprocess.run([sys.executable, "-m", "domtrans"], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def test_stored_suggestions_need_no_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    completion.known()
    assert "digits-dtn-paper" in offered(["train"], "dig")
    assert "encoder=digit-encoder" in offered(["train", "digits-dtn"], "encoder=")
    loads = "import sys; from domtrans.cli import completion as c; c.known(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loads], check=False).returncode == 0


class Context:
    """The context that Typer passes to a completion function."""

    def __init__(self, recipe, *changes):
        self.params = {"recipe": recipe, "changes": list(changes)}


def words(offers):
    return [word for word, _ in offers]


def test_paths_and_the_names_that_they_take_are_completed():
    context = Context("digits-dtn")
    assert {"train.steps=", "train.batch_size="} <= set(words(completion.complete_change(context, "train.")))
    assert "generator_losses.const.distance=" in words(completion.complete_change(context, "generator_losses."))
    assert words(completion.complete_change(context, "target=mnist")) == ["target=mnist", "target=mnist-5k"]
    assert "generator_losses.tid=total-variation" in words(completion.complete_change(context, "generator_losses.tid="))
    assert words(completion.complete_change(context, "generator_losses.const.distance=co")) == [
        "generator_losses.const.distance=contrastive",
        "generator_losses.const.distance=cosine",
    ]
    assert "fit=none" in words(completion.complete_change(context, "fit="))


def test_a_folder_that_cannot_be_read_offers_nothing():
    completion.known()
    with as_anyone() as folder:
        (folder / "closed").mkdir(mode=0)
        assert completion.complete_run(f"{folder}/clo") == [(f"{folder}/closed/", "")]
        assert completion.complete_run(f"{folder}/closed/") == []
        (folder / "closed").chmod(0o700)


def test_words_that_bash_splits_at_the_equals_sign_are_completed():
    assert words(completion.complete_change(Context("digits-dtn", "target", "="), "mnist-")) == ["mnist-5k"]
    assert "mnist-5k" in words(completion.complete_change(Context("digits-dtn", "target"), "="))


def test_recipes_kinds_and_parts_are_completed_for_show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words(completion.complete_shown("d")) == [
        "digits-dtn",
        "digits-dtn-paper",
        "domain",
        "discriminator",
        "distance",
        "detector",
    ]
    assert words(completion.complete_part_or_change(Context("domain"), "u")) == ["usps"]
    assert words(completion.complete_part_or_change(Context("digits-dtn"), "see")) == ["seed="]
    assert words(completion.complete_study("d")) == ["digits"]


def test_recipe_files_and_folders_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "my.toml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    offered = words(completion.complete_recipe(""))
    assert offered[:2] == ["avatars-dtn", "digits-dtn"] and offered[-2:] == ["my.toml", "runs/"]
    assert words(completion.complete_recipe("runs/m")) == ["runs/mine/"]
    assert words(completion.complete_recipe("nowhere/")) == []


def test_a_new_plugin_is_completed(tmp_path, monkeypatch):
    assert "by-later" not in words(completion.complete_part_or_change(Context("distance"), ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "later")
    assert "by-later" in words(completion.complete_part_or_change(Context("distance"), ""))


def test_an_error_gives_no_suggestion_and_no_message(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    (install(tmp_path, "odd") / "entry_points.txt").write_text("no section = at all\n")
    assert completion.complete_part_or_change(Context("distance"), "") == []
    assert capsys.readouterr() == ("", "")


def test_help_names_every_command():
    done = domtrans("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("recipes", "show", "plugins", "doctor", "new-plugin"))
