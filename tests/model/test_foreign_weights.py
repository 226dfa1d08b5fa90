"""Weights from others: archives and pickles that run code or fill the memory are refused in one sentence."""

import io
import os
import pickle
import zipfile
import zlib
from pathlib import Path

import pytest
import torch

from domtrans import DomtransError
from domtrans.model.weights import read_weights
from fuzz_checkpoints import MEGABYTES, peak


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return (self.call[0], self.call[1:])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "call", [(os.system, "touch {}"), (Path.touch, Path("{}")), (eval, "open('{}', 'w')"), (exec, "open('{}', 'w')")]
)
def test_a_pickle_never_runs(tmp_path, call, legacy):
    sprung = tmp_path / "sprung"
    arguments = [type(value)(str(value).format(sprung)) for value in call[1:]]
    for content in ({"a": torch.ones(2), "b": Runs(call[0], *arguments)}, Runs(call[0], *arguments)):
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(DomtransError, match="not a plain file of weights"):
            read_weights(tmp_path / "w.pth")
    assert not sprung.exists()


def archive(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in records.items():
            file.writestr(name, content)


def test_an_archive_that_would_fill_the_memory(tmp_path):
    path = tmp_path / "w.pth"
    archive(path, {"archive/data.pkl": pickle.dumps({}), "archive/data/0": b"\0" * 2**28}, zipfile.ZIP_DEFLATED)
    before = peak()
    with pytest.raises(DomtransError, match="would unpack to"):
        read_weights(path)
    assert peak() - before < MEGABYTES
    content = bytearray(path.read_bytes())
    path.write_bytes(bytes(content[: len(content) // 2]))
    with pytest.raises(DomtransError):
        read_weights(path)


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.ones(1).expand(2**40)},
        {"a": torch.ones(2).to_sparse()},
        {"a": torch.empty(2**40, device="meta")},
        {1: torch.ones(2)},
        {"a": bytearray(10)},
        {"a": {"b": torch.ones(2)}},
        torch.nn.Parameter(torch.ones(2)),
        None,
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_is_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    before = peak()
    with pytest.raises(DomtransError):
        read_weights(tmp_path / "w.pth")
    assert peak() - before < MEGABYTES


@pytest.mark.parametrize("content", [b"", b"\x80\x02.", zlib.compress(b"x" * 10**6), b"PK\x05\x06" + b"\0" * 18, b"\x80\x04N."])
def test_a_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(DomtransError):
        read_weights(tmp_path / "w.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(DomtransError, match="not a regular file"):
        read_weights(tmp_path / "pipe.pth")


def test_tensors_that_share_storage_are_read(tmp_path):
    shared = torch.ones(4)
    torch.save({"a": shared, "b": shared, "c": shared[1:]}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth")["c"].shape == (3,)
    buffer = io.BytesIO()
    torch.save({"a": shared}, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(buffer.getvalue())
    assert torch.equal(read_weights(tmp_path / "old.pth")["a"], shared)
