"""export: the file gives PyTorch's pixels, runs without torch, records where it comes from, and is measured."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from commands import in_process
from domtrans import DomtransError, export, load
from domtrans.model import onnx_graph
from paths import EXAMPLES
from tiny import bars, registry, write_bars

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXAMPLE = EXAMPLES / "run_onnx.py"
PIXELS = bars(9, seed=3)[0]


@pytest.fixture(scope="module")
def folder(trained):
    return trained[0]


@pytest.fixture
def run(folder):
    return load(folder, device="cpu", registry=registry())


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    """The file and its ``Exported``."""
    file = tmp_path_factory.mktemp("exported") / "digits.onnx"
    return file, export(load(folder, device="cpu", registry=registry()), file)


@pytest.fixture
def ready(written, monkeypatch):
    """Use the traced graph again, to save time."""
    monkeypatch.setattr(onnx_graph, "make_graph", lambda *_: onnx.load(written[0]))


def transferred(file, pixels):
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"images": pixels})[0]


def test_the_file_gives_the_pixels_of_the_run_in_batches_of_any_size(written, run):
    file, found = written
    for count in (1, 3, 9):
        made = transferred(file, PIXELS[:count])
        wanted = run.transfer(torch.from_numpy(PIXELS[:count]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        assert made.dtype == np.uint8 and made.shape == (count, 32, 32, 1)
        assert np.abs(made.astype(int) - wanted).max() <= 1
    assert (found.images, found.most <= 1, found.precision) == (4, True, "float32") and not found.before


def test_grey_pictures_are_given_as_rgb(written, run):
    grey = PIXELS[..., :1]
    wanted = run.transfer(torch.from_numpy(grey).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    assert np.abs(transferred(written[0], grey.repeat(3, 3)).astype(int) - wanted).max() <= 1


def test_the_metadata_records_the_origin(written, folder):
    file, found = written
    graph = onnx.load(file)
    says = {one.key: one.value for one in graph.metadata_props}
    assert says["model_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert json.loads(says["recipe"])["name"] == "digits-dtn-paper"
    assert json.loads(says["about"])["supervision"] == "none of the target"
    assert json.loads(says["export"])["opset"] == found.opset == graph.opset_import[0].version
    assert [d.dim_param or d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim] == ["batch", 32, 32, 3]


def test_the_example_needs_neither_torch_nor_domtrans(written, run, tmp_path):
    Image.fromarray(PIXELS[0]).resize((80, 50)).save(tmp_path / "picture.png")
    code = (
        "import runpy, sys; sys.modules.update({name: None for name in ('torch', 'domtrans')});"
        "script = sys.argv[1]; sys.argv = sys.argv[1:]; runpy.run_path(script, run_name='__main__')"
    )
    command = [sys.executable, "-W", "error", "-c", code, EXAMPLE, written[0], tmp_path / "picture.png", tmp_path / "made.png"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "made.png") as made, Image.open(tmp_path / "picture.png") as picture:
        assert np.abs(np.asarray(made, int) - np.asarray(run.transfer(picture), int)).max() <= 1


def test_torch_export(run, tmp_path):
    found = export(run, tmp_path / "digits.pt2")
    says = {"recipe": "", "export": ""}
    program = torch.export.load(tmp_path / "digits.pt2", extra_files=says)
    made = program.module()(torch.from_numpy(PIXELS[:5]))
    wanted = run.transfer(torch.from_numpy(PIXELS[:5]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert (made.int() - wanted.int()).abs().max() <= 1 and found.opset is None
    assert json.loads(says["recipe"])["image_size"] == 32 and json.loads(says["export"])["images"] == 4


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_files_are_measured_and_compared(ready, written, folder, tmp_path, capsys, precision):
    file = tmp_path / "small.onnx"
    code, out, _ = in_process(capsys, "export", folder, file, f"--{precision}", "--json", "--device", "cpu")
    found = json.loads(out)
    assert code == 0 and found["precision"] == precision and found["file"] == "small.onnx"
    assert {"accuracy", "n"} <= found["before"].keys() and found["before"].keys() == found["after"].keys()
    assert "encoder_accuracy" not in found["after"], "it does not depend on the file"
    assert found["before"]["n"] == 4 and 0 <= found["after"]["accuracy"] <= 1
    assert file.stat().st_size < 0.6 * written[0].stat().st_size
    says = {one.key: one.value for one in onnx.load(file).metadata_props}
    assert json.loads(says["export"]) == found, "the file contains the results"
    assert transferred(file, PIXELS[:3]).shape == (3, 32, 32, 1)


def test_what_is_printed(ready, folder, tmp_path, capsys):
    code, out, _ = in_process(capsys, "export", folder, tmp_path / "digits.onnx", "--fp16", "--device", "cpu")
    assert code == 0 and "metric" in out and "transfer accuracy" in out
    assert "ONNX opset" in out and "differ by at most" in out and "(4 source images)" in out


def test_other_images_can_be_named_if_the_run_s_own_are_missing(ready, run, tmp_path, monkeypatch):
    source = {"name": "arrays", "path": str(tmp_path / "gone.npz"), "holdout": 0.25}
    monkeypatch.setattr(run, "recipe", run.recipe.model_copy(update={"source": run.recipe.source.model_validate(source)}))
    with pytest.raises(DomtransError, match=r"there is no file .*gone\.npz; name other images, e\.g\. source=folder"):
        export(run, tmp_path / "digits.onnx")
    other = write_bars(tmp_path / "other.npz", 6)
    assert export(run, tmp_path / "digits.onnx", [f"source.path={other}"]).images == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["digits.bin"], "must end in .onnx or .pt2"),
        (["digits.pt2", "--int8"], "write it to a file that ends in .onnx"),
        (["digits.onnx", "--int8", "--fp16"], "cannot be combined"),
        (["nowhere/digits.onnx"], "there is no folder"),
        (["digits.onnx", "generator.width=8"], "evaluate cannot change 'generator.width'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(folder, tmp_path, capsys, words, sentence):
    code, out, err = in_process(capsys, "export", folder, tmp_path / words[0], *words[1:], "--device", "cpu")
    assert code == 2 and sentence in err and out == "" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(run, tmp_path, monkeypatch, library):
    if library == "onnxruntime":
        monkeypatch.setattr(onnx_graph, "make_graph", lambda *_: onnx.ModelProto())
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DomtransError, match=rf"needs the library {library}, .*: pip install 'domtrans\[export\]'"):
        export(run, tmp_path / "digits.onnx")


@pytest.mark.parametrize("name", ["digits.onnx", "digits.pt2"])
@pytest.mark.parametrize("content", [b"", b"notes of last year"])
def test_a_foreign_file_is_replaced_only_with_force(ready, run, folder, tmp_path, capsys, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    code, _, err = in_process(capsys, "export", folder, file, "--device", "cpu")
    assert code == 2 and f"{file} exists and is not from an earlier export" in err and file.read_bytes() == content
    code, _, err = in_process(capsys, "export", folder, file, "--device", "cpu", "--force")
    assert code == 0 and file.read_bytes() != content, err
    export(run, file)  # over an earlier export without force


def test_an_onnx_file_of_another_program_is_kept(run, tmp_path):
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "theirs.onnx")
    with pytest.raises(DomtransError, match="is not from an earlier export"):
        export(run, tmp_path / "theirs.onnx")


class Odd(nn.Module):
    """A generator that cannot be traced, or that computes something else when it is traced."""

    reads_images = False

    def __init__(self, generator, how):
        super().__init__()
        self.generator, self.how = generator, how

    def forward(self, features):
        made = self.generator(features)
        if self.how == "by value":
            return made if float(features.mean()) > 0 else -made
        return 0.5 * made if torch.compiler.is_exporting() else made


def test_networks_that_cannot_be_traced_are_refused(run, tmp_path):
    run.model.generator = Odd(run.model.generator, "by value")
    with pytest.raises(DomtransError, match=r"f and g cannot be traced into a graph: \w+: .* \(see docs/export\.md"):
        export(run, tmp_path / "digits.pt2")


def test_a_file_beyond_the_tolerance_is_not_written(run, tmp_path):
    run.model.generator = Odd(run.model.generator, "when exported")
    with pytest.raises(DomtransError, match=r"was not written: over 4 source images .* of 255 levels, and the tolerance is 1"):
        export(run, tmp_path / "digits.pt2")
    assert not list(tmp_path.iterdir())
    found = export(run, tmp_path / "digits.pt2", tolerance=255)
    assert found.most > 1 and (tmp_path / "digits.pt2").is_file()


def test_the_run_is_not_changed(run, tmp_path, ready):
    before = [(name, value.data_ptr(), value.requires_grad) for name, value in run.model.named_parameters()]
    export(run, tmp_path / "digits.onnx")
    assert before == [(name, value.data_ptr(), value.requires_grad) for name, value in run.model.named_parameters()]
