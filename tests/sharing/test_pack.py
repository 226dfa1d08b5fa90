"""pack and the model hub: the packed folder and its model card, and what is downloaded from a hub."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image

from commands import in_process
from domtrans import DomtransError, load, pack, verify
from domtrans.pretrained.hub import FILES as FETCHED
from domtrans.sharing import pack as packing
from domtrans.sharing.model_card import as_text, model_card
from tiny import bars, registry

yaml = pytest.importorskip("yaml")
huggingface_hub = pytest.importorskip("huggingface_hub")

PIXELS = torch.from_numpy(bars(5)[0]).permute(0, 3, 1, 2).contiguous()
FILES = {
    "model.safetensors", "discriminator.safetensors", "config.json", "recipe.json", "results.json", "README.md", "samples.png",
    "SHA256SUMS",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(trained):
    return load(trained[0], device="cpu", registry=registry())


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory):
    return pack(run, tmp_path_factory.mktemp("packed") / "digits", licence="mit")


def card(folder):
    """The front matter and the page of a model card."""
    _, front, page = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), page


def test_the_command_writes_every_file_and_warns_of_private_paths(trained, tmp_path, capsys):
    code, out, err = in_process(capsys, "pack", trained[0], tmp_path / "digits", "--licence", "mit")
    assert code == 0 and out.startswith(f"wrote {tmp_path / 'digits'}: README.md")
    assert {path.name for path in (tmp_path / "digits").iterdir()} == FILES
    assert "contains paths of this machine" in err and "source.npz" in err and str(trained[0]) in err


@pytest.mark.parametrize("licence", ["", "see the file", "mit\ntags: [x]"])
def test_what_is_no_identifier_of_a_licence_is_refused(run, tmp_path, licence):
    with pytest.raises(DomtransError, match=r"is not the identifier of a licence, .*e\.g\. mit or cc-by-4\.0"):
        pack(run, tmp_path / "digits", licence=licence)
    assert not (tmp_path / "digits").exists()


def test_the_checksums_are_those_of_the_files(packed):
    sums = dict(reversed(line.split("  ")) for line in (packed.folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == FILES - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((packed.folder / name).read_bytes()).hexdigest() == digest


def test_the_folder_is_a_run(packed, run):
    again = load(packed.folder, device="cpu", registry=registry())
    assert torch.equal(again.transfer(PIXELS), run.transfer(PIXELS))
    assert again.results == run.results and again.recipe == run.recipe and again.about == run.about
    assert not verify(again).differences


def test_the_front_matter_is_what_model_hubs_read(packed, run):
    front, _ = card(packed.folder)
    assert front["library_name"] == "domtrans" and front["license"] == "mit" and "domain-transfer" in front["tags"]
    (result,) = huggingface_hub.ModelCard.load(packed.folder / "README.md").data.eval_results[:1]
    figures = {one["type"]: one["value"] for one in front["model-index"][0]["results"][0]["metrics"]}
    assert figures["accuracy"] == run.results["accuracy"] and result.dataset_type == "arrays"


def test_the_card_states_what_the_run_records(packed, run):
    _, page = card(packed.folder)
    assert "| transfer accuracy | " in page and "| test images | 4 |" in page and "One run with one seed (0)" in page
    assert run.about["made_by"] in page and run.about["data"]["source"] in page
    assert "Supervision: none of the target" in page and "health: " in page
    assert "domain arrays: not stated" in page and "the model: mit" in page
    assert "tid (target-identity, weight 15)" in page and "![" in page and "(samples.png)" in page


def test_values_that_repeat_for_names_are_a_table_of_the_card(run):
    values = {"skin_balanced_accuracy": 0.75, "skin_chance_accuracy": 0.5, "eyes_balanced_accuracy": 0.25}
    page = model_card(with_(run, results={"metrics": values, "run": {}, "checks": {}}), licence=None, grid=None)
    head = "| attribute | balanced accuracy | chance |\n|---|---|---|\n"
    assert f"\n\n{head}| skin | 75.0 % | 50.0 % |\n| eyes | 25.0 % | \N{EN DASH} |\n\n" in page
    assert "| skin balanced accuracy" not in page
    assert '"name": "skin balanced accuracy", "type": "skin_balanced_accuracy"' in page  # for model hubs


def test_the_licence_of_a_domain_is_taken_from_its_docstring(run):
    recipe = run.recipe.model_copy(
        update={"source": run.recipe.source.model_validate("svhn"), "target": run.recipe.target.model_validate("mnist-5k")}
    )
    page = model_card(with_(run, recipe=recipe), licence=None, grid=None)
    assert "domain svhn: for non-commercial use; Y. Netzer" in page and "domain mnist-5k: MNIST by Yann LeCun" in page
    assert "the model: not stated by whoever packed it" in page and "samples.png" not in page and "license:" not in page


def test_foreign_text_cannot_add_markup(run):
    evil = "x | <script>alert(1)</script> [a](http://b)\n# Big\n---\n```"
    page = model_card(with_(run, recipe=run.recipe.model_copy(update={"description": evil})), licence=evil, grid=None)
    assert "<script>" not in page.split("---\n", 2)[2] and "\n# Big" not in page
    assert yaml.safe_load(page.split("---\n", 2)[1])["license"] == evil
    assert as_text("a\nb|c") == "a b\\|c"
    said = run.about | {"made_by": "domtrans train\n```\n<b>"}
    assert "```\n<b>" not in model_card(with_(run, about=said), licence=None, grid=None)


def with_(run, **changes):
    """The same run with other attributes."""
    changed = load(run.path, device="cpu", registry=run.registry)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def test_a_card_without_results_says_so(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "copy")
    shutil.copy(folder / "model.safetensors", folder / "best.safetensors")
    files = pack(folder / "best.safetensors", tmp_path / "digits").files
    assert set(files) == FILES - {"results.json", "discriminator.safetensors"}, "D is that of the last step, not of the best"
    front, page = card(tmp_path / "digits")
    assert "model-index" not in front and "No results were recorded for this file" in page


def test_the_last_training_grid_is_used_if_the_data_is_missing(run, tmp_path):
    recipe = run.recipe.model_copy(update={"source": run.recipe.source.model_validate({"name": "arrays", "path": "gone.npz"})})
    pack(with_(run, recipe=recipe), tmp_path / "digits")
    newest = sorted((run.path / "samples").glob("*.png"))[-1]
    assert (tmp_path / "digits" / "samples.png").read_bytes() == newest.read_bytes()
    with Image.open(newest) as grid:
        assert grid.width > 32


def test_a_folder_is_written_whole_or_not_at_all(run, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    with pytest.raises(DomtransError, match="exists already; choose another folder"):
        pack(run, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert pack(run, tmp_path / "empty").folder == tmp_path / "empty"
    with pytest.raises(DomtransError, match="cannot be written"):
        pack(run, tmp_path / "full" / "mine.txt" / "digits")

    def fault(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "model_card", fault)
    with pytest.raises(KeyboardInterrupt):
        pack(run, tmp_path / "stopped")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]


@pytest.fixture
def hub(packed, tmp_path, monkeypatch):
    """A hub with one model; the list of its requests."""
    asked = []

    def snapshot_download(repository, **how):
        asked.append((repository, how))
        if repository != "owner/digits":
            raise FileNotFoundError("Got: ConnectError: [Errno -2] Name or service not known\nPlease check your connection")
        return str(packed.folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_model_of_the_hub_is_loaded_by_its_name(hub, run):
    loaded = load("owner/digits", device="cpu", registry=registry())
    assert torch.equal(loaded.transfer(PIXELS), run.transfer(PIXELS)) and loaded.results == run.results
    load("owner/digits@v1.0", device="cpu", registry=registry())
    assert [(name, how["revision"]) for name, how in hub] == [("owner/digits", None), ("owner/digits", "v1.0")]
    assert [how["allow_patterns"] for _, how in hub] == 2 * [FETCHED]
    load("hf://owner/digits@v1.0", device="cpu", registry=registry())
    assert hub[2] == hub[1]


def test_the_commands_take_a_model_of_the_hub(hub, tmp_path, capsys):
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "picture.png")
    code, _, err = in_process(capsys, "transfer", "owner/digits", "picture.png", "made.png", "--device", "cpu")
    assert code == 0, err
    assert (tmp_path / "made.png").is_file() and len(hub) == 1


def test_a_missing_model_is_reported_in_one_sentence(hub, monkeypatch):
    with pytest.raises(
        DomtransError, match=r"there is no run in owner/other: no such folder, and .* \(Got: ConnectError.*network"
    ):
        load("owner/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DomtransError, match=r"there is no run in owner/other: no such folder; .*pip install 'domtrans\[hub\]'"):
        load("owner/other")


@pytest.mark.parametrize("name", ["runs/digits", "digits", "./owner/digits", "/owner/digits", "owner/digits/more", "../digits"])
def test_paths_are_never_looked_up_on_the_hub(hub, tmp_path, name):
    (tmp_path / "runs").mkdir()
    with pytest.raises(DomtransError, match="no such folder"):
        load(name)
    assert not hub


def test_no_executable_file_is_downloaded():
    """Only the named files are downloaded; a pickle beside them stays on the hub."""
    from fnmatch import fnmatch

    there = [
        "model.safetensors",
        "pytorch_model.bin",
        "model.pkl",
        "code.py",
        "recipe.json",
        "results.json",
        "a/model.safetensors",
    ]
    taken = [name for name in there if any(fnmatch(name, pattern) for pattern in FETCHED)]
    assert taken == ["model.safetensors", "recipe.json", "results.json"]


def test_without_a_network_the_real_library_gives_one_sentence(tmp_path):
    """With the real library; the address of the hub does not exist."""
    code = "import domtrans\ntry: domtrans.load('owner/digits')\nexcept domtrans.DomtransError as error: print(error)"
    places = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "https://localhost:9", "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=places, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1 and "could not be downloaded from the model hub" in done.stdout


def test_the_packed_results_are_those_of_the_run(packed, run):
    assert json.loads((packed.folder / "results.json").read_text()) == run.results
