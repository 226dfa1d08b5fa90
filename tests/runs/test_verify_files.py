"""``verify --files``: every file of a run or a packed model is whole, or named with what is wrong."""

import hashlib
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from commands import in_process
from domtrans import DomtransError, load, pack, verify_files
from domtrans.pretrained.models import model_folder
from domtrans.pretrained.trust import trusted
from domtrans.storage.signature import sign
from paths import DOCS
from tiny import registry, tiny_recipe
from tiny_runs import go


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, and the same packed."""
    folder = tmp_path_factory.mktemp("finished")
    run = go(tiny_recipe(folder, train__steps=2, metrics={}), folder / "run")
    pack(run, folder / "packed")
    return folder


@pytest.fixture
def damaged(finished, tmp_path):
    """A copy to damage."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def faults(path):
    return {file.name: file.fault for file in verify_files(path) if file.fault}


def test_whole_files(finished):
    names = {file.name for file in verify_files(finished / "run")}
    assert {"recipe.json", "metrics.jsonl", "model.safetensors", "training.safetensors", "samples/step-000002.png"} <= names
    for name in ("run", "packed", "run/model.safetensors"):
        assert faults(finished / name) == {}


def test_damaged_files(damaged):
    run = damaged / "run"
    content = bytearray((run / "training.safetensors").read_bytes())
    content[-1] ^= 1
    (run / "training.safetensors").write_bytes(content)
    (run / "results.json").write_text('{"run": ')
    sample = run / "samples" / "step-000002.png"
    sample.write_bytes(sample.read_bytes()[:-30])
    found = faults(run)
    assert found.keys() == {"training.safetensors", "results.json", "samples/step-000002.png"}
    assert "checksum does not match" in found["training.safetensors"] and "cannot be read" in found["results.json"]


def test_a_packed_model_that_was_changed(damaged):
    packed = damaged / "packed"
    (packed / "README.md").write_text("Trust me.")
    (packed / "config.json").unlink()
    (packed / "extra.txt").write_text("x")
    (packed / "SHA256SUMS.sig").write_text("a signature")
    assert faults(packed) == {
        "README.md": "it was changed: SHA256SUMS has another checksum",
        "config.json": "it is missing, and SHA256SUMS names it",
        "extra.txt": "SHA256SUMS does not name it, so it was added later",
    }


def test_what_is_no_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DomtransError, match="neither a run nor a packed model"):
            verify_files(path)


def test_the_command(finished, damaged, capsys):
    code, output, _ = in_process(capsys, "verify", finished / "packed", "--files")
    assert code == 0 and "files are whole" in output and "fault" not in output
    (damaged / "packed" / "README.md").write_text("Trust me.")
    code, output, _ = in_process(capsys, "verify", damaged / "packed", "--files")
    assert code == 1 and "README.md" in output and "it was changed" in output
    code, output, _ = in_process(capsys, "verify", damaged / "packed", "--files", "--json")
    assert code == 1 and [file["name"] for file in json.loads(output) if file["fault"]] == ["README.md"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_keys_and_signatures_as_the_documentation_makes_them(finished, tmp_path, monkeypatch):
    pytest.importorskip("cryptography")
    page = (DOCS / "sharing.md").read_text()
    make, make_public, check = (
        shlex.split(line.partition(" #")[0]) for line in page.splitlines() if line.startswith("openssl")
    )
    monkeypatch.chdir(tmp_path)
    for command in (make, make_public):
        subprocess.run(command, check=True)
    assert "--sign key.pem" in page and "--key publisher.pem" in page
    packed = shutil.copytree(finished / "packed", "digits-dtn")
    (Path(packed) / "SHA256SUMS.sig").write_bytes(sign((Path(packed) / "SHA256SUMS").read_bytes(), Path("key.pem")))
    assert {file.fault for file in verify_files("digits-dtn", key="publisher.pem")} == {""}
    assert subprocess.run(check, capture_output=True).returncode == 0
    sums = tmp_path / "digits-dtn" / "SHA256SUMS"
    (tmp_path / "digits-dtn" / "README.md").write_text("Trust me.")
    forged = f"{hashlib.sha256(b'Trust me.').hexdigest()}  README.md"
    sums.write_text("".join(f"{forged if 'README' in line else line}\n" for line in sums.read_text().splitlines()))
    assert faults("digits-dtn") == {}, "the checksums can be forged, the signature cannot"
    assert subprocess.run(check, capture_output=True).returncode != 0
    assert [file.name for file in verify_files("digits-dtn", key="publisher.pem") if file.fault] == ["SHA256SUMS.sig"]


@pytest.fixture(scope="module")
def signed(finished):
    """The packed model with a signature; its key, and that of another."""
    ssh = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    folder = shutil.copytree(finished / "packed", finished / "signed")
    (folder / "SHA256SUMS.sig").write_bytes(key.sign((folder / "SHA256SUMS").read_bytes()))
    files = [finished / "key.pub", finished / "other.pub"]
    for file, private in zip(files, (key, other), strict=True):
        file.write_bytes(private.public_key().public_bytes(ssh.Encoding.OpenSSH, ssh.PublicFormat.OpenSSH))
    return folder, *files


def test_only_models_that_are_signed_with_the_configured_key_are_loaded(signed, finished, tmp_path, monkeypatch):
    key, other = signed[1:]
    copy = shutil.copytree(signed[0], tmp_path / "copy")
    monkeypatch.setenv("DOMTRANS_TRUSTED_KEY", str(key))
    (copy / "README.md").write_text("Hubs do not send it, and users edit it.")
    load(copy, device="cpu", registry=registry())
    for path in (copy / "model.safetensors", model_folder("digits-dtn")):
        assert trusted(path) == path
    with pytest.raises(DomtransError, match=r"packed is not trusted: it is not signed.*DOMTRANS_TRUSTED_KEY asks"):
        load(finished / "packed")
    (copy / "results.json").write_text("{}")
    with pytest.raises(DomtransError, match=r"is not trusted: results\.json was changed or added after it was signed"):
        load(copy)
    monkeypatch.setenv("DOMTRANS_TRUSTED_KEY", str(other))
    with pytest.raises(DomtransError, match=r"is not trusted: SHA256SUMS\.sig is not a signature of SHA256SUMS by .*other"):
        load(copy)


@pytest.mark.parametrize("option", ["train__begin", "encoder__weights"])
def test_a_training_does_not_begin_with_a_model_that_is_not_trusted(finished, tmp_path, monkeypatch, option):
    monkeypatch.setenv("DOMTRANS_TRUSTED_KEY", str(tmp_path / "key.pub"))
    recipe = tiny_recipe(tmp_path, **{option: str(finished / "run"), "metrics": {}})
    with pytest.raises(DomtransError, match="run is not trusted: it is not signed"):
        go(recipe, tmp_path / "begun")


def test_what_the_command_says_of_signatures(signed, finished, capsys):
    folder, key, other = signed
    for words, code, said in (
        ((folder, "--key", key), 0, f"files are whole; they are signed with {key}"),
        ((folder, "--files"), 0, "the signature was not checked (--key)"),
        ((finished / "packed", "--files"), 0, "the model is not signed"),
        ((finished / "packed", "--key", key), 1, "it is not signed: there is no SHA256SUMS.sig"),
        ((folder, "--key", other), 1, "is not a signature of SHA256SUMS by"),
    ):
        found, out, error = in_process(capsys, "verify", *words)
        assert found == code and said in " ".join(out.split()), error


def test_a_pack_that_cannot_be_signed_writes_nothing(finished, tmp_path, capsys):
    code, _, error = in_process(capsys, "pack", finished / "run", tmp_path / "packed", "--sign", tmp_path / "gone")
    assert code == 2 and "the key" in error and not (tmp_path / "packed").exists()
