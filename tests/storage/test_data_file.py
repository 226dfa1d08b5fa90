"""Files at an address: what is read once is never downloaded again, and every fault is one sentence."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from domtrans import DomtransError, data_file, find_file, is_remote, list_folder
from domtrans.storage import data_file as module
from domtrans.storage import requests
from file_server import serve

CONTENT = os.urandom(100_000)
BLOCK = 2**14


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder with a file of several small blocks, on a server; requests are repeated without a pause."""
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(module, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(requests, "WAIT_SECONDS", (0, 0))
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    (folder / "inside").mkdir(parents=True)
    (folder / "a.bin").write_bytes(CONTENT)
    with serve(folder) as running:
        yield running


def test_only_the_blocks_that_are_read_are_downloaded_and_only_once(server):
    file = data_file(f"{server.address}/a.bin")
    assert (file.size, file.name) == (len(CONTENT), "a.bin")
    copy = file.fetch([(BLOCK + 1, 10)])
    assert copy.read_bytes()[BLOCK : 2 * BLOCK] == CONTENT[BLOCK : 2 * BLOCK] and server.sent == {"/a.bin": BLOCK}
    with file.open() as opened:
        opened.seek(-10, os.SEEK_END)
        assert opened.read(100) == CONTENT[-10:] and opened.read(1) == b""
    assert file.fetch().read_bytes() == CONTENT
    assert data_file(file.address).fetch().read_bytes() == CONTENT, "another process would do the same"
    assert server.sent == {"/a.bin": len(CONTENT)}


def test_threads_share_a_download(server):
    file = data_file(f"{server.address}/a.bin")
    with ThreadPoolExecutor(4) as pool:
        assert all(copy.read_bytes() == CONTENT for copy in pool.map(lambda _: file.fetch(), range(4)))
    assert server.sent == {"/a.bin": len(CONTENT)}


def test_a_server_without_ranges_sends_the_file_once(server):
    server.ranges = False
    file = data_file(f"{server.address}/a.bin")
    assert file.fetch([(0, 1)]).read_bytes() == CONTENT
    file.fetch()
    assert server.sent == {"/a.bin": len(CONTENT)}


def test_a_broken_connection_is_repeated_and_then_reported(server):
    file = data_file(f"{server.address}/a.bin")
    server.broken = 2
    assert file.fetch([(0, 10)]).read_bytes()[:10] == CONTENT[:10]
    server.broken = 3
    with pytest.raises(DomtransError, match=r"a\.bin cannot be read: .* what was downloaded is kept"):
        file.fetch()


def test_a_file_that_changes_while_it_is_read_is_refused_and_a_new_version_read(server):
    file = data_file(f"{server.address}/a.bin")
    file.fetch([(0, 10)])
    (server.folder / "a.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(DomtransError, match="has changed since it was opened"):
        file.fetch()
    assert data_file(file.address).fetch().read_bytes() == CONTENT[::-1]


def test_what_cannot_be_read_is_one_sentence(server):
    with pytest.raises(DomtransError, match=r"there is no file or folder http://.*/missing"):
        data_file(f"{server.address}/missing")
    assert find_file(f"{server.address}/missing") is None
    for status, message in ((403, "access is denied"), (500, "the server answered 500")):
        server.status = status
        with pytest.raises(DomtransError, match=message):
            data_file(f"{server.address}/a.bin")
    server.shutdown()
    server.server_close()
    with pytest.raises(DomtransError, match="check the address and the network"):
        data_file(f"{server.address}/a.bin")


def test_a_folder_lists_its_files_and_folders(server):
    assert list_folder(server.address) == [(f"{server.address}/a.bin", False), (f"{server.address}/inside", True)]


def test_an_empty_file_is_read(server):
    (server.folder / "empty.bin").write_bytes(b"")
    assert data_file(f"{server.address}/empty.bin").fetch().read_bytes() == b""


def test_headers_come_from_the_settings_of_fsspec(server, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setitem(fsspec.config.conf, "http", {"headers": {"Authorization": "Bearer abc"}})
    data_file(f"{server.address}/a.bin").fetch([(0, 1)])
    assert {headers.get("authorization") for headers in server.headers} == {"Bearer abc"}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://me:hunter2@host/a.tar", "the address https://host/a.tar holds a password"),
        ("https://host/a.tar?X-Amz-Signature=hunter2", "the address https://host/a.tar holds a password"),
        ("ftp://host/a.tar", "has the protocol ftp, which is not read"),
        ("https://[host/hunter2", "not a valid address"),
        ("https://", "https:// is only the beginning of an address"),
        ("s3://bucket/a.tar", "needs a library that is not installed .*: pip install s3fs"),
    ],
)
def test_refused_addresses_show_no_secret(address, message):
    if address.startswith("s3"):
        try:
            import s3fs  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("s3fs is installed")
    with pytest.raises(DomtransError, match=message) as error:
        data_file(address)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "remote"),
    [("s3://a/b", True), ("https:/host/a", True), ("memory://a", True), ("C:/a", False), ("C:\\a", False), ("a/b", False)],
)
def test_addresses_are_told_from_paths(path, remote):
    assert is_remote(path) is remote
