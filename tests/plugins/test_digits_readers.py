"""The domains mnist, usps and svhn, with small synthetic files in the original formats."""

import bz2
import gzip
import hashlib
import struct

import numpy as np
import pytest
import scipy.io
import torch
from torchvision.datasets import SVHN

from digit_files import DIGITS, RNG, domain, idx, libsvm, write_mnist
from domtrans import DomtransError
from paths import SHARED

REAL_MNIST = SHARED / "data" / "MNIST" / "raw"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize(("split", "stem"), [("train", "train"), ("test", "t10k")])
def test_mnist_is_found_in_every_usual_folder(tmp_path, packed, place, split, stem):
    write_mnist(tmp_path / place, packed=packed, stem=stem)
    found = domain("mnist", split, root=str(tmp_path))
    assert found.images.shape == (20, 1, 32, 32) and found.labels.tolist() == DIGITS[1].tolist()
    assert np.array_equal(found.images[:, 0, 2:30, 2:30].numpy(), DIGITS[0])
    assert split in found.about and found.classes == tuple("0123456789")
    assert domain("mnist", split, 16, root=str(tmp_path)).images.shape == (20, 1, 16, 16)


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"the real MNIST is not in {REAL_MNIST}")
def test_the_real_mnist():
    found = domain("mnist", "test", root=str(REAL_MNIST.parents[1]))
    assert len(found) == 10_000 and torch.bincount(found.labels).tolist()[:3] == [980, 1135, 1032]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:3],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:10],
        lambda raw: b"\0\0\x0d\x03" + raw[4:],
        lambda raw: b"words" * 40,
        lambda raw: raw[:4] + struct.pack(">3i", -2, -28, 28) + raw[16:],
        lambda raw: raw[:4] + struct.pack(">3i", 1 << 30, 1 << 30, 1 << 30) + raw[16:],
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_idx_file_is_a_clear_error(tmp_path, packed, damage):
    write_mnist(tmp_path, packed=packed)
    path = tmp_path / ("train-images-idx3-ubyte" + (".gz" if packed else ""))
    content = damage(idx(DIGITS[0]))
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DomtransError, match=r"train-images-idx3-ubyte|images of shape") as caught:
        domain("mnist", root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_truncated_or_corrupted_gzip_file_is_a_clear_error(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :] for at in (0, 12, 200, 5000, len(whole) - 6)]
    for content in (whole[:5], whole[:100], whole[:-4], whole[:-9], *flipped):
        path.write_bytes(content)
        with pytest.raises(DomtransError, match="delete it and download it again"):
            domain("mnist", root=str(tmp_path))


def test_different_numbers_of_images_and_labels_are_refused(tmp_path):
    write_mnist(tmp_path, packed=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(DIGITS[1][:7]))
    with pytest.raises(DomtransError, match="20 images but 7 labels"):
        domain("mnist", root=str(tmp_path))


@pytest.mark.parametrize(("split", "name"), [("train", "usps.bz2"), ("test", "usps.t.bz2")])
def test_usps(tmp_path, split, name):
    images = RNG.integers(0, 256, (12, 16, 16), dtype=np.uint8)
    (tmp_path / name).write_bytes(libsvm(images, np.arange(12) % 10))
    found = domain("usps", split, 16, root=str(tmp_path))
    assert found.labels.tolist() == [k % 10 for k in range(12)] and found.images.shape == (12, 1, 16, 16)
    assert np.abs(found.images[:, 0].numpy().astype(int) - images).max() <= 1
    assert domain("usps", split, 32, root=str(tmp_path)).images.shape == (12, 1, 32, 32)


@pytest.mark.parametrize("content", [b"", b"no archive", bz2.compress(b"1 1:x\n"), libsvm(DIGITS[0][:1], [3])[:50]])
def test_a_damaged_usps_file_is_a_clear_error(tmp_path, content):
    (tmp_path / "usps.bz2").write_bytes(content)
    with pytest.raises(DomtransError, match=r"usps\.bz2 cannot be read: .*; delete it and download it again"):
        domain("usps", root=str(tmp_path))


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """Small .mat files in SVHN's format, one per part."""
    known = {}
    for part, count in (("train", 6), ("extra", 5), ("test", 4)):
        images = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.array([[10], [1], [2], [3], [9], [4]][:count], dtype=np.uint8)
        url, name, _ = SVHN.split_list[part]
        scipy.io.savemat(tmp_path / name, {"X": images, "y": labels})
        known[part] = [url, name, hashlib.md5((tmp_path / name).read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", known)
    return tmp_path


@pytest.mark.parametrize(
    ("split", "part", "labels"),
    [
        ("train", "train", [0, 1, 2, 3, 9, 4]),
        ("train", "extra", [0, 1, 2, 3, 9]),
        ("train", "train+extra", [0, 1, 2, 3, 9, 4, 0, 1, 2, 3, 9]),
        ("test", "extra", [0, 1, 2, 3]),
    ],
)
def test_svhn(svhn, split, part, labels):
    found = domain("svhn", split, root=str(svhn), part=part)
    assert found.labels.tolist() == labels and found.images.shape == (len(labels), 3, 32, 32)
    first = scipy.io.loadmat(svhn / SVHN.split_list["test" if split == "test" else part.split("+")[0]][1])["X"][..., 0]
    assert np.array_equal(found.images[0].permute(1, 2, 0).numpy(), first)
    assert (part if split == "train" else "test") in found.about


def test_an_svhn_file_with_another_checksum_is_refused(svhn):
    path = svhn / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DomtransError, match=r"train_32x32\.mat cannot be read: .*; delete it and download it again"):
        domain("svhn", root=str(svhn))


@pytest.mark.parametrize(
    ("name", "wanted", "offline"),
    [
        ("mnist", "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz", "mnist-5k"),
        ("usps", "usps.bz2", "mnist-5k"),
        ("svhn", "train_32x32.mat", "street-digits"),
    ],
)
def test_the_error_for_missing_files_names_folder_and_alternative(tmp_path, name, wanted, offline):
    with pytest.raises(DomtransError) as caught:
        domain(name, root=str(tmp_path / "empty"))
    message = str(caught.value)
    assert all(words in message for words in (str(tmp_path / "empty"), wanted, "download=true", f"offline, '{offline}'"))


def test_data_sets_are_looked_for_in_the_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path))
    write_mnist(tmp_path / "datasets" / "mnist")
    assert len(domain("mnist")) == 20
