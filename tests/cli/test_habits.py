"""Habits that all commands share: the same options, help that can be followed, and messages that name the real fault."""

import re
import tomllib

import pytest
from typer.main import get_command

from commands import SMALL, in_process
from domtrans import find_recipe, override, train
from domtrans.cli.commands import app
from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import with_other_data
from installed_plugins import install
from tiny import registry

COMMANDS = get_command(app).commands
by_name = pytest.mark.parametrize("name", COMMANDS)


def options_of(name):
    """The option strings of each parameter, by its name."""
    return {parameter.name: set(parameter.opts) for parameter in COMMANDS[name].params}


@by_name
def test_options_have_the_same_letters_everywhere(name):
    for parameter, strings in options_of(name).items():
        if parameter in ("quiet", "verbose", "out"):
            assert strings == {f"--{parameter}", f"-{parameter[0]}"}


def test_what_shows_progress_can_be_quiet_and_what_writes_has_an_output_option():
    for name in ("train", "evaluate", "verify", "transfer", "export", "generate", "reproduce", "bench", "make"):
        assert "quiet" in options_of(name), name
    for name in ("train", "transfer", "export", "pack", "generate", "reproduce", "make", "report"):
        assert "out" in options_of(name), name


@by_name
def test_a_default_stands_in_one_pair_of_brackets(name, capsys):
    code, out, _ = in_process(capsys, name, "--help")
    defaults = re.findall(r"\[default:\s+([^\]]*)\]", out)
    assert code == 0 and not [default for default in defaults if default.startswith("(")]
    assert out.count("[default:") == len(defaults)


def test_the_default_format_of_transfer_is_shown_once(capsys):
    assert "[default: png]" in in_process(capsys, "transfer", "--help")[1]


@by_name
def test_examples_of_changes_in_the_help_are_accepted(name):
    """evaluate and export take less than train: their help must not offer what they refuse."""
    changes = next((parameter for parameter in COMMANDS[name].params if parameter.name == "changes"), None)
    if changes is None or "data" in options_of(name):  # without changes, or with those of inspect, which may be about a domain
        return
    recipe = find_recipe("digits-dtn", registry())
    accept = with_other_data if name in ("evaluate", "export") else override
    examples = re.findall(r"[a-z_.]+=[\w.-]+", changes.help)
    assert examples or name == "show"
    for example in examples:
        accept(recipe, [example], registry())
    if accept is with_other_data:
        with pytest.raises(DomtransError, match=r"cannot change 'train.steps'"):
            accept(recipe, ["train.steps=2000"], registry())


@pytest.mark.parametrize("name", ["pack", "generate", "export"])
def test_an_output_may_be_an_argument_or_an_option(trained, tmp_path, capsys, name):
    out = tmp_path / ("out.onnx" if name == "export" else "out")
    assert in_process(capsys, name, trained[0], "-o", out)[0] == 0 and out.exists()
    code, _, err = in_process(capsys, name, trained[0])
    assert code == 2 and "there is no output" in err
    code, _, err = in_process(capsys, name, trained[0], tmp_path / "second", "--out", out.with_stem("first"))
    assert code == 2 and ("two outputs" in err or "not of the form path=value" in err)


def test_transfer_and_make_take_an_output_option(trained, tmp_path, capsys):
    sample = next((trained[0] / "samples").iterdir())
    assert in_process(capsys, "transfer", trained[0], sample, "-o", tmp_path / "made.png")[0] == 0
    assert (tmp_path / "made.png").is_file()
    shards = tmp_path / "shards"
    assert in_process(capsys, "make", "avatars", "style=micah", "--count", 2, "--size", 16, "-o", shards, "-q")[0] == 0
    assert list(shards.glob("*.tar"))


def test_train_takes_an_output_option_of_one_letter_and_no_metrics(data, tmp_path, capsys):
    small = [word for word in SMALL if not word.startswith("metrics")]
    words = ["train", "digits-dtn-paper", *data, *small, "metrics=none", "-q", "-o", tmp_path / "run"]
    code, out, err = in_process(capsys, *words)
    assert code == 0 and err == "" and "transfer accuracy" not in out and "not measured" not in out
    shown = in_process(capsys, "show", tmp_path / "run", "--toml")[1]
    assert tomllib.loads(shown)["metrics"] == {}


def test_a_file_where_a_folder_belongs_is_called_a_file(tmp_path, capsys):
    file = tmp_path / "env.sh"
    file.write_text("")
    for command in ("evaluate", "report"):
        code, _, err = in_process(capsys, command, file)
        assert code == 2 and f"there is no run in {file}: it is a file, not a folder" in err
    changes = ["source=folder", f"source.path={file}"]
    code, _, err = in_process(capsys, "train", "digits-dtn", *changes, "-q", "-o", tmp_path / "run")
    assert code == 2 and f"{file} is a file, not a folder" in err


def test_a_plugin_that_was_refused_still_shows_the_interface_that_it_states(tmp_path, monkeypatch, capsys):
    clash = """
        import domtrans

        domtrans_interface = 1

        @domtrans.hookimpl
        def register(registry):
            registry.distance("mse", lambda a, b: a - b)
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "clash", clash)
    code, out, _ = in_process(capsys, "plugins")
    (line,) = [line for line in out.splitlines() if line.startswith("clash ")]
    assert code == 0 and "interface 1" in line and "broken" in out


def test_inspect_of_a_folder_that_is_not_there_says_so(capsys):
    code, _, err = in_process(capsys, "inspect", "photoz")
    assert code == 2 and "there is no folder, file or recipe 'photoz'" in err


def test_an_unknown_option_says_how_a_change_to_the_recipe_is_written(capsys):
    code, _, err = in_process(capsys, "train", "digits-dtn", "--steps", "10")
    assert code == 2 and "No such option: --steps" in err and "without dashes, e.g. train.steps=2000" in err
    assert "without dashes" not in in_process(capsys, "doctor", "--steps")[2]


def test_a_kind_may_be_named_in_the_plural(capsys):
    assert in_process(capsys, "show", "studies") == in_process(capsys, "show", "study")


@pytest.mark.parametrize("command", ["evaluate", "report", "demo", "verify"])
def test_the_name_of_a_run_under_runs_is_suggested(trained, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(trained[0])
    code, _, err = in_process(capsys, command, "mine")
    assert code == 2 and "there is no run in mine: no such folder; did you mean runs/mine?" in err


def test_a_single_change_from_python_is_not_taken_apart():
    with pytest.raises(DomtransError, match=re.escape("so write ['train.steps=3']")):
        train("digits-dtn", overrides="train.steps=3")
