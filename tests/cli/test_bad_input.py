"""Bad input: one clear sentence, exit code 2, no traceback, and nothing lost."""

import os
import pickle
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from commands import SMALL, domtrans, in_process
from tiny import bars, write_bars


def refused(capsys, *args: object) -> str:
    """The error message of a command that must be refused."""
    code, stdout, stderr = in_process(capsys, *args)
    assert code == 2, (code, stdout, stderr)
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in stderr and stdout == ""
    return lines[0]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["no-such"], ["no recipe 'no-such'", "digits-dtn"]),
        (["digits-dtm"], ["did you mean 'digits-dtn'"]),
        (["no.toml"], ["no recipe file no.toml"]),
        (["digits-dtn", "source=svnh"], ["no domain 'svnh'", "did you mean 'svhn'"]),
        (["digits-dtn", "generator_losses.const.distance=euclid"], ["no distance 'euclid'", "mse"]),
        (["digits-dtn", "generator_losses.style=gram"], ["no loss 'gram'"]),
        (["digits-dtn", "source.cuont=5"], ["no option 'cuont'", "did you mean 'count'"]),
        (["digits-dtn", "trian.steps=5"], ["no option 'trian.steps'", "did you mean 'train'"]),
        (["digits-dtn", "train.stepps=5"], ["no option 'train.stepps'", "did you mean 'steps'"]),
        (["digits-dtn", "train.steps.more=5"], ["train.steps.more", "plain value"]),
        (["digits-dtn", "adapt.steps=5"], ["adapt.steps", "set the part first", "adapt=NAME"]),
        (["digits-dtn", "train.steps=many"], ["train.steps", "integer", "'many'"]),
        (["digits-dtn", "train.steps=0"], ["train.steps", "greater than 0"]),
        (["digits-dtn", "train.ema=1.5"], ["train.ema", "less than 1"]),
        (["digits-dtn", "train.generator_optimizer.lr=NaN"], ["train.generator_optimizer.lr"]),
        (["digits-dtn", "generator_losses.tid.weight=-1"], ["weight", "greater than or equal to 0"]),
        (["digits-dtn", "image_size=4"], ["image_size", "greater than or equal to 8"]),
        (["digits-dtn", "train.precision=fp8"], ["train.precision", "'bf16'"]),
        (["digits-dtn", "seed=-1"], ["seed", "greater than or equal to 0"]),
        (["digits-dtn", "target=none"], ["target", "a name or a table of options"]),
        (["digits-dtn", "train.generator_optimizer=sdg"], ["no optimizer 'sdg'", "did you mean 'sgd'"]),
        (["digits-dtn", "steps=5"], ["no option 'steps'", "did you mean 'train.steps'?"]),
        (["digits-dtn", "lr=1"], ["'train.generator_optimizer.lr' or 'train.discriminator_optimizer.lr'"]),
        (["digits-dtn", "device=cpu"], ["'device' is not an option of a recipe; write --device"]),
        (["digits-dtn", "source=/"], ["no domain '/'", "to read files, name the domain and its path: folder, and path=/"]),
        (["/"], ["/ is a folder, and neither a recipe nor a run"]),
        (["digits-dtn", "--toml", "--json"], ["--toml and --json", "choose one"]),
        (["digits-dtn", "faster"], ["'faster' is not of the form path=value"]),
        (["digits-dtn", "=5"], ["not of the form path=value"]),
    ],
)
def test_recipes_and_assignments(capsys, args, words):
    sentence = refused(capsys, "show", *args)
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "name = ", ["a.toml is not valid TOML"]),
        ("a.json", "{", ["a.json is not valid JSON"]),
        ("a.json", "[1]", ["must hold a table"]),
        ("a.toml", "name = 'x'", ["a.toml", "'source' must be given"]),
        ("a.toml", "extends = 'digits-dtn'\n[train]\nstep = 5", ["did you mean 'steps'"]),
        ("a.toml", "extends = 5", ["extends must be the name of a recipe"]),
    ],
)
def test_recipe_files(tmp_path, capsys, name, text, words):
    (tmp_path / name).write_text(text)
    sentence = refused(capsys, "show", tmp_path / name)
    for word in words:
        assert word in sentence


def png_of_no_pixels() -> bytes:
    """A well-formed PNG with a width of 0 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def whole_png(path) -> bytes:
    """A complete PNG, long enough to be truncated."""
    Image.fromarray(bars(1)[0][0]).save(path)
    return path.read_bytes()


@pytest.fixture
def scene(tmp_path):
    """A folder with all kinds of damaged data."""
    images, labels = bars(16)
    np.savez(tmp_path / "floats.npz", images=images / 255.0, labels=labels)
    np.savez(tmp_path / "flat.npz", images=images.reshape(16, -1), labels=labels)
    np.savez(tmp_path / "none.npz", images=images[:0], labels=labels[:0])
    np.savez(tmp_path / "other.npz", pictures=images, paintings=images)
    np.save(tmp_path / "single.npy", images.reshape(16, -1))
    np.save(tmp_path / "one.npy", images[0])
    np.savez(tmp_path / "fewer.npz", images=images, labels=labels[:3])
    np.savez(tmp_path / "negative.npz", images=images, labels=labels - 1)
    np.savez(tmp_path / "objects.npz", images=np.array([{"a": 1}, None], dtype=object), labels=labels)
    whole = (tmp_path / "floats.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("not arrays")
    (tmp_path / "hollow").mkdir()
    for name, content in {
        "text": b"this is no image",
        "short": whole_png(tmp_path / "whole.png")[:-60],
        "zero": png_of_no_pixels(),
        "nothing": b"",
    }.items():
        (tmp_path / f"{name}-folder").mkdir()
        (tmp_path / f"{name}-folder" / "x.png").write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("domain", "path", "words"),
    [
        ("arrays", "missing.npz", ["there is no file", "missing.npz"]),
        ("arrays", "flat.npz", ["images must be [N, H, W]", "[16, 3072]"]),
        ("arrays", "none.npz", ["are empty", "none.npz"]),
        ("arrays", "other.npz", ["'images'", "other.npz"]),
        ("arrays", "single.npy", ["images must be", "[16, 3072]"]),
        ("arrays", "one.npy", ["[32, 32, 3] is one image", "[1, 32, 32, 3]"]),
        ("arrays", "fewer.npz", ["16 images but 3 labels"]),
        ("arrays", "negative.npz", ["labels must not be negative", "negative.npz"]),
        ("arrays", "objects.npz", ["pickled objects", "not loaded"]),
        ("arrays", "short.npz", ["short.npz cannot be read"]),
        ("arrays", "empty.npz", ["empty.npz cannot be read"]),
        ("arrays", "text.npz", ["text.npz cannot be read"]),
        ("arrays", "hollow", ["hollow cannot be read"]),
        ("folder", "missing", ["there is no folder", "missing"]),
        ("folder", "hollow", ["there are no images in", "hollow"]),
        ("folder", "text-folder", ["x.png", "not an image"]),
        ("folder", "short-folder", ["x.png", "cannot be read"]),
        ("folder", "zero-folder", ["x.png"]),
        ("folder", "nothing-folder", ["x.png", "not an image"]),
    ],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_damaged_data(scene, data, capsys, side, domain, path, words):
    changes = [f"{side}={domain}", f"{side}.path={scene / path}", f"{side}.holdout=1"]
    changes += [] if side == "source" else ["train.steps=1", "fit=none"]
    sentence = refused(capsys, "train", "digits-dtn-paper", *data, *SMALL, *changes, "--out", scene / "run", "-q")
    for word in words:
        assert word in sentence


def test_a_split_without_images(tmp_path, data, capsys):
    command = ["train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run", "-q"]
    assert "no images for the train split" in refused(capsys, *command, "target.holdout=1")
    assert "no images for the test split" in refused(capsys, *command, "source.holdout=0")


def test_labels_that_are_missing_or_do_not_match(tmp_path, data, capsys):
    command = ["train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run", "-q"]
    bare = write_bars(tmp_path / "bare.npz", labelled=False)
    assert "label" in refused(capsys, *command, f"source.path={bare}")
    two = write_bars(tmp_path / "two.npz", classes=2, channels=1)
    code, stdout, _ = in_process(capsys, *command[:-2], tmp_path / "mismatch", "-q", f"target.path={two}")
    assert code == 0 and "not measured" in stdout and "classes" in stdout, "trains; says what it cannot measure"


def test_an_output_folder_that_is_in_use(trained, data, tmp_path, capsys):
    run, _ = trained
    before = (run / "recipe.json").read_bytes()
    command = ["train", "digits-dtn-paper", *data, *SMALL]
    sentence = refused(capsys, *command, "train.batch_size=6", "--out", run)
    assert "another recipe" in sentence and "train.batch_size: 4 -> 6" in sentence and "--out" in sentence
    assert "another recipe" in refused(capsys, *command, "train.batch_size=6", "--out", run, "--resume")
    assert (run / "recipe.json").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    assert "exists and is not a run" in refused(capsys, *command, "--out", tmp_path / "file")
    assert "exists and is not a run" in refused(capsys, *command, "--out", tmp_path)
    assert "no run in" in refused(capsys, *command, "--out", tmp_path / "new", "--resume")
    assert "cannot be created" in refused(capsys, *command, "--out", tmp_path / "file" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_without_permission(data, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "cannot be created" in refused(capsys, "train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run")


@pytest.mark.parametrize("kind", ["short", "pickle", "text", "empty", "foreign"])
@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
def test_damaged_checkpoints(trained, tmp_path, capsys, kind, name):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    whole = (run / name).read_bytes()
    header = b'{"__metadata__":{"format":"pt"}}'
    damaged = {
        "short": whole[: len(whole) // 2],
        "pickle": pickle.dumps({"weights": [1, 2, 3]}),
        "text": b"hello, world, I am no checkpoint",
        "empty": b"",
        "foreign": struct.pack("<Q", len(header)) + header,
    }[kind]
    (run / name).write_bytes(damaged)
    if name == "model.safetensors":
        sentence = refused(capsys, "evaluate", run)
    else:
        sentence = refused(capsys, "train", run, "train.steps=6", "--out", run, "--resume", "-q")
    assert name in sentence
    assert ("not written by" if kind == "foreign" else "not a complete safetensors file") in sentence
    assert (run / name).read_bytes() == damaged, "left for the user to look at"


def test_folders_that_are_no_run(trained, tmp_path, capsys):
    assert "no such folder" in refused(capsys, "evaluate", tmp_path / "missing")
    assert "is not a run" in refused(capsys, "evaluate", tmp_path)
    (tmp_path / "run").mkdir()
    shutil.copy(trained[0] / "recipe.json", tmp_path / "run")
    fault = refused(capsys, "evaluate", tmp_path / "run")
    assert "has no model" in fault and f"continue it with `domtrans train {tmp_path / 'run'} --resume`" in fault
    (tmp_path / "run" / "recipe.json").write_text("{")
    assert "recipe.json" in refused(capsys, "evaluate", tmp_path / "run")


def test_evaluate_changes_only_what_is_measured(trained, capsys):
    assert "cannot change 'train.steps'" in refused(capsys, "evaluate", trained[0], "train.steps=5")
    assert "no domain" in refused(capsys, "evaluate", trained[0], "source=nowhere")
    assert "path=value" in refused(capsys, "evaluate", trained[0], "source")
    assert "has no metrics, so nothing can be measured; name one" in refused(capsys, "evaluate", trained[0], "metrics=none")


def test_transfer_of_files_that_are_no_images(trained, scene, capsys):
    run, out = trained[0], scene / "out.png"
    assert "no file or folder" in refused(capsys, "transfer", run, scene / "missing.png", out)
    assert "not an image" in refused(capsys, "transfer", run, scene / "text-folder" / "x.png", out)
    assert "cannot be read" in refused(capsys, "transfer", run, scene / "short-folder" / "x.png", out)
    assert "x.png" in refused(capsys, "transfer", run, scene / "zero-folder" / "x.png", out)
    assert "there are no images" in refused(capsys, "transfer", run, scene / "hollow", scene / "made")
    assert "none of the 1 files" in refused(capsys, "transfer", run, scene / "text-folder", scene / "made")
    assert not out.exists()
    assert "cannot be written" in refused(capsys, "transfer", run, scene / "whole.png", scene / "text.npz" / "out.png")
    assert "does not end in the suffix" in refused(capsys, "transfer", run, scene / "whole.png", scene / "out.xyz")
    assert "is a file" in refused(capsys, "transfer", run, scene / "short-folder", scene / "whole.png")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_devices_that_are_not_available(tmp_path, capsys, device):
    assert f"'{device}' is not available" in refused(
        capsys, "train", "digits-dtn", "--device", device, "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()


def test_encoder_weights_that_do_not_fit(tmp_path, data, trained, capsys):
    command = ["train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run", "-q"]
    assert "there is no file" in refused(capsys, *command, "encoder.weights=missing.safetensors")
    wrong = trained[0] / "training.safetensors"
    assert "does not fit the encoder" in refused(capsys, *command, f"encoder.weights={wrong}")


def test_the_same_from_a_shell(tmp_path):
    done = domtrans("train", "digits-dtn", "train.steps=many", "--out", tmp_path / "run")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
