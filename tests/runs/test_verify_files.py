"""``verify --files``: every file of a run or a packed model is whole, or named with what is wrong."""

import hashlib
import json
import shlex
import shutil
import subprocess

import pytest

from commands import in_process
from domtrans import DomtransError, pack, verify_files
from paths import DOCS
from tiny import tiny_recipe
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
        with pytest.raises(DomtransError, match="no run and no packed model"):
            verify_files(path)


def test_the_command(finished, damaged, capsys):
    code, output, _ = in_process(capsys, "verify", finished / "packed", "--files")
    assert code == 0 and "files are whole" in output and "fault" not in output
    (damaged / "packed" / "README.md").write_text("Trust me.")
    code, output, _ = in_process(capsys, "verify", damaged / "packed", "--files")
    assert code == 1 and "README.md" in output and "it was changed" in output
    code, output, _ = in_process(capsys, "verify", damaged / "packed", "--files", "--json")
    assert code == 1 and [file["name"] for file in json.loads(output) if file["fault"]] == ["README.md"]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_signature_of_the_checksums_as_the_documentation_makes_it(damaged):
    key, packed = damaged / "key", damaged / "packed"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    (damaged / "signers").write_text(f"you@example.org {key.with_suffix('.pub').read_text()}")
    sign, verify = (
        shlex.split(line.replace("~/.ssh/id_ed25519", str(key)).replace("digits-dtn", str(packed)).partition(" < ")[0])
        for line in (DOCS / "sharing.md").read_text().splitlines()
        if line.startswith("ssh-keygen")
    )
    subprocess.run(sign, check=True, capture_output=True)

    def check():
        content = (packed / "SHA256SUMS").read_bytes()
        return subprocess.run(verify, input=content, cwd=damaged, capture_output=True).returncode

    assert check() == 0 and faults(packed) == {}
    (packed / "README.md").write_text("Trust me.")
    sums = (packed / "SHA256SUMS").read_text().splitlines()
    forged = f"{hashlib.sha256(b'Trust me.').hexdigest()}  README.md"
    (packed / "SHA256SUMS").write_text("".join(f"{forged if 'README' in line else line}\n" for line in sums))
    assert check() != 0 and faults(packed) == {}  # the checksums can be forged, the signature cannot
