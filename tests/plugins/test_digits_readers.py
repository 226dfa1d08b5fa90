"""The domains mnist, usps and svhn, with small synthetic files in the original formats."""

import bz2
import gzip
import struct

import numpy as np
import pytest
import scipy.io
import torch

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
        with pytest.raises(DomtransError, match="copy or save it again"):
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
    with pytest.raises(DomtransError, match=r"usps\.bz2 cannot be read: .*; copy or save it again"):
        domain("usps", root=str(tmp_path))


@pytest.fixture
def svhn(tmp_path):
    """Small .mat files in SVHN's format, one per part."""
    for part, count in (("train", 6), ("extra", 5), ("test", 4)):
        images = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.array([[10], [1], [2], [3], [9], [4]][:count], dtype=np.uint8)
        scipy.io.savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": labels})
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
    first = scipy.io.loadmat(svhn / f"{'test' if split == 'test' else part.split('+')[0]}_32x32.mat")["X"][..., 0]
    assert np.array_equal(found.images[0].permute(1, 2, 0).numpy(), first)
    assert (part if split == "train" else "test") in found.about


def test_a_truncated_svhn_file_is_a_clear_error(svhn):
    path = svhn / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DomtransError, match=r"train_32x32\.mat cannot be read: .*; copy or save it again"):
        domain("svhn", root=str(svhn))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"images": np.zeros(3)}, "needs the variables X and y, and has .*images"),
        ({"X": np.zeros((32, 32, 3, 4)), "y": np.ones((4, 1))}, r"X must be uint8 \[H, W, 3, N\], not float64"),
        ({"X": np.zeros((4, 32, 32, 3), np.uint8), "y": np.ones((4, 1))}, r"X must be uint8 \[H, W, 3, N\]"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((3, 1))}, "4 images but 3 labels"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[11], [1]])}, "labels are not 0 to 10"),
    ],
)
def test_a_mat_file_of_another_form_is_refused_with_what_it_has(tmp_path, content, problem):
    scipy.io.savemat(tmp_path / "train_32x32.mat", content)
    with pytest.raises(DomtransError, match=problem) as refusal:
        domain("svhn", root=str(tmp_path))
    assert "delete" not in str(refusal.value), "it is the user's own file"


def test_a_damaged_file_in_the_cache_is_to_be_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path))
    (tmp_path / "datasets" / "svhn").mkdir(parents=True)
    (tmp_path / "datasets" / "svhn" / "train_32x32.mat").write_bytes(b"damaged")
    with pytest.raises(DomtransError, match="delete it and download it again"):
        domain("svhn")


@pytest.mark.parametrize(
    "places", ["train-{}.idx{}-ubyte", "train-{}.idx{}-ubyte.gz", "train-{0}-idx{1}-ubyte/train-{0}-idx{1}-ubyte"]
)
def test_idx_files_have_the_names_that_archive_programs_give_them(tmp_path, places):
    for kind, dimensions, values in (("images", 3, DIGITS[0]), ("labels", 1, DIGITS[1])):
        path = tmp_path / places.format(kind, dimensions)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(idx(values)) if path.suffix == ".gz" else idx(values))
    found = domain("mnist", root=str(tmp_path))
    assert np.array_equal(found.images[:, 0, 2:30, 2:30].numpy(), DIGITS[0]) and found.labels.tolist() == DIGITS[1].tolist()


@pytest.mark.parametrize(("side", "padded"), [(28, True), (32, False), (20, False)])
def test_only_images_of_28_pixels_are_padded(tmp_path, side, padded):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.full((4, side, side), 99, np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(4, dtype=np.uint8)))
    corners = domain("mnist", root=str(tmp_path)).images[:, 0, 0, 0].tolist()
    assert corners == [0 if padded else 99] * 4


def test_a_usps_file_may_leave_out_zeros_and_number_digits_from_zero(tmp_path):
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(b"0 1:1 256:-1\n9 2:1\n"))
    found = domain("usps", "train", 16, root=str(tmp_path))
    assert found.labels.tolist() == [0, 9]
    assert found.images[0, 0, 0, :2].tolist() == [255, 127] and found.images[0, 0, 15, 15] == 0


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
