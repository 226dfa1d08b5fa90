"""Tensor files: complete or absent, and never a pickle."""

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch

from domtrans import DomtransError
from domtrans.model.weights import read_weights
from domtrans.storage.atomic import write_bytes, write_json
from domtrans.storage.tensors import fingerprint, read_tensors, write_tensors

TENSORS = {
    "a": torch.arange(6.0).view(2, 3),
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 4),
    "bytes": torch.tensor([1, 255], dtype=torch.uint8),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "strided": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "view": torch.arange(10)[::3],
    "grad": torch.nn.Parameter(torch.ones(2)),
}


def test_tensors_and_metadata_are_read_as_written(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS, {"format": "x", "über": "ß\n"})
    found, metadata = read_tensors(tmp_path / "a.safetensors")
    assert metadata == {"format": "x", "über": "ß\n"} and found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_two_names_may_share_one_tensor(tmp_path):
    shared = torch.ones(3)
    write_tensors(tmp_path / "a.safetensors", {"a": shared, "b": shared, "c": shared[1:]}, {})
    assert torch.equal(read_tensors(tmp_path / "a.safetensors")[0]["c"], torch.ones(2))


@pytest.mark.parametrize("fault", ["fsync", "replace", "write"])
def test_a_failed_write_keeps_the_previous_content(tmp_path, monkeypatch, fault):
    path = tmp_path / "a.bin"
    write_bytes(path, b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    if fault == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    elif fault == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(DomtransError, match=r"a\.bin cannot be written: No space left on device"):
        write_bytes(path, b"after")
    monkeypatch.undo()
    assert path.read_bytes() == b"before" and [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_only_a_file_that_exists_is_said_to_be_unchanged(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "no" / "new.bin", tmp_path / "folder"):
        with pytest.raises(DomtransError, match="cannot be written") as fault:
            write_bytes(path, b"new")
        assert "previous content" not in str(fault.value)
    (tmp_path / "old.bin").write_bytes(b"before")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(DomtransError, match="No space left on device; its previous content is unchanged"):
        write_bytes(tmp_path / "old.bin", b"new")
    with pytest.raises(DomtransError, match=r"No space left on device$"):
        write_bytes(tmp_path / "new.bin", b"new")


def test_a_file_that_was_replaced_is_not_said_to_be_unchanged(tmp_path, monkeypatch):
    (tmp_path / "old.bin").write_bytes(b"before")

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("domtrans.storage.atomic._sync_folder", broken)
    with pytest.raises(DomtransError, match=r"Input/output error$"):
        write_bytes(tmp_path / "old.bin", b"new")


def test_an_interrupt_while_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "a.json", {"a": 1})
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DomtransError, match="cannot be written"):
        write_tensors(tmp_path / "no" / "a.safetensors", {}, {})


def test_other_users_may_read_written_files(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1]})
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a.json").read_text() == '{\n  "a": [\n    1\n  ]\n}\n'


def test_a_file_truncated_anywhere_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {"format": "x"})
    whole = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(whole), 29), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DomtransError, match="not a complete safetensors file"):
            read_tensors(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(DomtransError, match="there is no file"):
        read_tensors(tmp_path / "a.safetensors")
    with pytest.raises(DomtransError, match="not a complete safetensors file"):
        read_tensors(tmp_path)


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", ["zip", "plain pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, protocol):
    sprung, path = tmp_path / "sprung", tmp_path / "weights.pth"
    state = {"a": torch.ones(2), "b": Trap(sprung)}
    if protocol == "zip":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(DomtransError, match="not a plain file of weights") as caught:
        read_weights(path)
    assert not sprung.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["pth", "pt"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_plain_state_dict_is_read(tmp_path, ending, wrapped):
    state = torch.nn.Linear(2, 3).state_dict()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / f"w.{ending}")
    found = read_weights(tmp_path / f"w.{ending}")
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, torch.ones(2), {"state_dict": {"a": "b"}}, {"state_dict": 3}])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(DomtransError, match="does not hold a state dict"):
        read_weights(tmp_path / "w.pth")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"nothing")
    with pytest.raises(DomtransError, match="not a plain file of weights"):
        read_weights(tmp_path / "w.pth")
    for name, message in (
        ("w.bin", ".safetensors, .pth or .pt"),
        ("v.pth", "there is no file"),
        ("v.safetensors", "there is no file"),
    ):
        with pytest.raises(DomtransError, match=message):
            read_weights(tmp_path / name)


def test_a_fingerprint_depends_on_names_shapes_types_and_values():
    base = {"a": torch.arange(6.0), "b": torch.tensor(1)}
    others = [
        {"a": torch.arange(6.0), "c": torch.tensor(1)},
        {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1)},
        {"a": torch.arange(6), "b": torch.tensor(1)},
        {"a": torch.arange(6.0), "b": torch.tensor(2)},
        {"a": torch.arange(6.0) + 1, "b": torch.tensor(1)},
    ]
    assert len({fingerprint(each) for each in (base, *others)}) == 6
    assert fingerprint(dict(reversed(base.items()))) == fingerprint(base)
    assert len(fingerprint(TENSORS)) == 16
