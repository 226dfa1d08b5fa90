"""Downloads of digit data: verified checksums, limited size, atomic files, clear errors."""

import hashlib
import logging
import threading
import urllib.error
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
from torchvision.datasets import MNIST, SVHN, USPS

import domtrans_digits.domains.downloads as downloads
from digit_files import DIGITS, RNG, domain, libsvm, write_mnist
from domtrans import DomtransError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small files in the published formats, by name."""
    folder = tmp_path_factory.mktemp("published")
    for stem in ("train", "t10k"):
        write_mnist(folder, stem=stem)
    for name in ("usps.bz2", "usps.t.bz2"):
        (folder / name).write_bytes(libsvm(DIGITS[0][:5, :16, :16], np.arange(5)))
    for name in ("train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"):
        images = RNG.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
        scipy.io.savemat(folder / name, {"X": images, "y": np.array([[10], [1], [2], [3]], dtype=np.uint8)})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(files, monkeypatch):
    """A local server of those files behind every address; tests can change its responses and read its requests."""
    responses, requests = dict(files), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.strip("/")
            requests.append(name)
            if name not in responses:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            self.wfile.write(responses[name])

        def log_message(self, *_):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    place = f"http://127.0.0.1:{running.server_port}/"
    known = {name: downloads.Source(place + name, hashlib.sha256(content).hexdigest(), 1) for name, content in files.items()}
    assert known.keys() == downloads.SOURCES.keys()
    monkeypatch.setattr(downloads, "SOURCES", known)
    parts = {part: [url, name, hashlib.md5(files[name]).hexdigest()] for part, (url, name, _) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", parts)
    yield SimpleNamespace(responses=responses, requests=requests)
    running.shutdown()
    running.server_close()


DOWNLOADED = [
    ("mnist", "train", {}, ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"], 20),
    ("mnist", "test", {}, ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"], 20),
    ("usps", "train", {}, ["usps.bz2"], 5),
    ("usps", "test", {}, ["usps.t.bz2"], 5),
    ("svhn", "train", {"part": "train+extra"}, ["train_32x32.mat", "extra_32x32.mat"], 8),
    ("svhn", "test", {}, ["test_32x32.mat"], 4),
]


@pytest.mark.parametrize(("name", "split", "options", "wanted", "count"), DOWNLOADED)
def test_missing_files_are_downloaded_once(server, files, tmp_path, name, split, options, wanted, count):
    for _ in range(2):
        assert len(domain(name, split, root=str(tmp_path / "new"), download=True, **options)) == count
    assert server.requests == wanted
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {one: files[one] for one in wanted}
    assert len(domain(name, split, root=str(tmp_path / "new"), **options)) == count  # and without download=true


def test_existing_files_are_not_downloaded_again(server, tmp_path):
    write_mnist(tmp_path / "raw", packed=False)
    (tmp_path / "raw" / "train-labels-idx1-ubyte").unlink()
    server.responses["train-labels-idx1-ubyte.gz"] = b"never requested"
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    assert len(domain("mnist", root=str(tmp_path), download=True)) == 20 and not server.requests


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole[:-1] + b"x", "is not the published one: its SHA-256 differs"),
        (lambda whole: whole[: len(whole) // 2], "SHA-256 differs|cannot be downloaded"),
        (lambda whole: b"", "SHA-256 differs|cannot be downloaded"),
        (lambda whole: b"<html>log in here</html>".ljust(len(whole)), "SHA-256 differs"),
        (None, "cannot be downloaded to .*404"),
    ],
)
def test_a_wrong_file_is_refused_and_removed(server, tmp_path, change, message):
    if change is None:
        del server.responses["usps.bz2"]
    else:
        server.responses["usps.bz2"] = change(server.responses["usps.bz2"])
    with pytest.raises(DomtransError, match=message) as caught:
        domain("usps", root=str(tmp_path), download=True)
    assert str(caught.value).endswith("; offline, 'mnist-5k' needs no download") and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_endless_response_is_cut_off(tmp_path, monkeypatch):
    class Endless:
        url = "https://elsewhere/usps.bz2"

        def __init__(self):
            self.bytes_sent = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, size):
            self.bytes_sent += size
            return b"\0" * size

    response = Endless()
    monkeypatch.setattr(downloads, "urlopen", lambda *_, **__: response)
    with pytest.raises(DomtransError, match="sends more than 16 MiB; the published file is smaller"):
        downloads.fetch("usps.bz2", tmp_path)
    assert response.bytes_sent <= 17 * 2**20 and not list(tmp_path.iterdir())
    response.url = "http://elsewhere/usps.bz2"
    with pytest.raises(DomtransError, match=r"redirects to http://elsewhere/usps\.bz2, which is not https"):
        downloads.fetch("usps.bz2", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mnist", "usps", "svhn"])
def test_a_failed_download_is_a_clear_error(tmp_path, monkeypatch, name):
    def unreachable(*_, **__):
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(downloads, "urlopen", unreachable)
    with pytest.raises(DomtransError, match=r"cannot be downloaded to .*name resolution.*; offline, '") as caught:
        domain(name, root=str(tmp_path / "new"), download=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "usps", "svhn"])
def test_an_unwritable_folder_is_a_clear_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(DomtransError, match=f"cannot be downloaded to {tmp_path / 'file'}"):
        domain(name, root=str(tmp_path / "file"), download=True)


def test_an_interrupt_leaves_no_file(server, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads.hashlib, "sha256", interrupt)
    with pytest.raises(KeyboardInterrupt):
        downloads.fetch("usps.bz2", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_download_is_logged(server, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        downloads.fetch("extra_32x32.mat", tmp_path)
    assert "downloading http://127.0.0.1" in caplog.text


def test_addresses_are_those_of_torchvision_and_use_https_where_possible():
    """File names hold no path, and every address but SVHN's uses https."""
    theirs = {f"{mirror}{name}" for mirror in MNIST.mirrors for name, _ in MNIST.resources}
    theirs |= {entry[0] for dataset in (USPS, SVHN) for entry in dataset.split_list.values()}
    for name, source in downloads.SOURCES.items():
        assert source.url in theirs and "/" not in name and len(source.sha256) == 64
        assert source.url.startswith("https://") or source.url.startswith("http://ufldl.stanford.edu/")
    assert len(downloads.SOURCES) == 9
