"""Every domain that works offline: form, splits, sizes and determinism."""

import numpy as np
import pytest
import torch
from PIL import Image

from domtrans import DomtransError, use
from domtrans.data.domains import load_domain
from tiny import bars, registry, write_bars
from tiny_shards import write_shards

DOWNLOADED = {"mnist", "usps", "svhn", "lfw", "celeba", "ms-celeb"}  # see test_digits_readers.py, test_faces_photos.py
GIVEN_IN_PYTHON = {"python"}  # see test_from_python.py
WITHOUT_CLASSES = {"avatars", "portraits"}  # faces have no class


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """A small part for every domain that works offline."""
    root = tmp_path_factory.mktemp("domains")
    for index, (image, label) in enumerate(zip(*bars(16), strict=True)):
        (root / "pictures" / f"class-{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / "pictures" / f"class-{label}" / f"{index:02d}.png")
    return {
        "street-digits": use("street-digits", count=120, test_count=40),
        "mnist-5k": use("mnist-5k"),
        "arrays": use("arrays", path=write_bars(root / "grey.npz", channels=1), holdout=0.25),
        "folder": use("folder", path=str(root / "pictures"), holdout=0.25),
        "subset": use("subset", of=use("mnist-5k"), count=50),
        "extended": use(
            "extended",
            of=use("arrays", path=write_bars(root / "own.npz"), holdout=0.25),
            by=[{"name": "portraits", "count": 12}],
        ),
        "avatars": use("avatars", count=12, test_count=4),
        "portraits": use("portraits", count=12, test_count=4),
        "webdataset": use("webdataset", path=write_shards(root / "shards", *bars(16)), holdout=0.25),
    }


def test_every_registered_domain_is_tested(domains):
    assert set(registry().names("domain")) == set(domains) | DOWNLOADED | GIVEN_IN_PYTHON


@pytest.mark.parametrize("name", sorted(set(registry().names("domain")) - DOWNLOADED - GIVEN_IN_PYTHON))
@pytest.mark.parametrize("size", [32, 16])
def test_splits_have_the_right_form_and_do_not_overlap(domains, name, size):
    splits = {split: load_domain(registry(), domains[name], split, size) for split in ("train", "test")}
    for split, images in splits.items():
        assert images.images.dtype == torch.uint8 and images.images.shape[1:] == (images.channels, size, size)
        assert images.images.is_contiguous() and images.channels in (1, 3)
        if name in WITHOUT_CLASSES:
            assert images.labels is None and images.classes == () and len(images.attributes) > 1
        else:
            assert images.labels.dtype == torch.int64 and images.labels.shape == (len(images),)
            assert images.labels.min() >= 0 and images.labels.max() < len(images.classes)
        assert split in images.about
        again = load_domain(registry(), domains[name], split, size)
        assert again.fingerprint() == images.fingerprint()
    assert splits["train"].classes == splits["test"].classes and splits["train"].channels == splits["test"].channels
    train_images, test_images = ({image.numpy().tobytes() for image in part.images} for part in splits.values())
    assert not train_images & test_images
    assert len(train_images) == len(splits["train"])


def test_the_sizes_of_the_splits(domains):
    count = {name: [len(load_domain(registry(), domains[name], split, 16)) for split in ("train", "test")] for name in domains}
    assert count.pop("street-digits") == [120, 40] and count.pop("mnist-5k") == [4000, 1000]
    assert count.pop("subset") == [50, 50] and count.pop("extended") == [24, 4]
    assert count == {name: [12, 4] for name in ("arrays", "folder", "webdataset", "avatars", "portraits")}


def test_mnist_5k_is_balanced_and_unchanged_at_32_pixels(domains):
    found = load_domain(registry(), domains["mnist-5k"], "test", 32)
    assert torch.bincount(found.labels).tolist() == [100] * 10
    assert not found.images[:, :, :2].any() and not found.images[..., 30:].any() and found.images.max() == 255


def test_another_seed_gives_other_street_digits(domains):
    part = domains["street-digits"]
    other = use("street-digits", **part.options, seed=1)
    a, b = (load_domain(registry(), each, "train", 32) for each in (part, other))
    assert a.fingerprint() != b.fingerprint()
    assert "not SVHN" in a.about


def test_arrays_accepts_every_layout(tmp_path):
    rng = np.random.default_rng(0)
    forms = {(8, 20, 30): 1, (8, 20, 30, 1): 1, (8, 20, 30, 3): 3, (8, 3, 20, 30): 3, (8, 1, 20, 30): 1}
    for shape, channels in forms.items():
        np.savez(tmp_path / "a.npz", images=rng.integers(0, 256, shape, dtype=np.uint8))
        found = load_domain(registry(), use("arrays", path=str(tmp_path / "a.npz")), "train", 16)
        assert found.images.shape == (7, channels, 16, 16) and found.labels is None and found.classes == ()


def test_the_test_split_of_arrays_is_the_end_of_the_file(tmp_path):
    path = write_bars(tmp_path / "a.npz", 16)
    whole, _ = bars(16)
    parts = [load_domain(registry(), use("arrays", path=path, holdout=0.25), split, 32) for split in ("train", "test")]
    joined = torch.cat([part.images for part in parts]).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(joined, whole) and len(parts[1]) == 4
    assert len(load_domain(registry(), use("arrays", path=path, holdout=1.0), "test", 32)) == 16
    assert len(load_domain(registry(), use("arrays", path=path, holdout=0), "train", 32)) == 16
    with pytest.raises(DomtransError, match="no images for the test split"):
        load_domain(registry(), use("arrays", path=path, holdout=0), "test", 32)


def save_pictures(root, *places, size=(9, 9)):
    for index, place in enumerate(places):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (index * 9, 0, 0)).save(root / place)


def test_a_folder_without_subfolders_has_no_labels(tmp_path):
    save_pictures(tmp_path, *(f"{i}.png" for i in range(8)))
    found = load_domain(registry(), use("folder", path=str(tmp_path)), "train", 16)
    assert found.images.shape == (7, 3, 16, 16) and found.labels is None


def test_a_folder_with_train_and_test_subfolders_keeps_its_split(tmp_path):
    save_pictures(tmp_path, "train/a/0.png", "train/b/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    part = use("folder", path=str(tmp_path))
    train_set, test_set = (load_domain(registry(), part, split, 16) for split in ("train", "test"))
    assert train_set.labels.tolist() == [0, 1, 1] and test_set.labels.tolist() == [0, 1]
    assert train_set.classes == test_set.classes == ("a", "b")


def test_the_holdout_of_a_folder_is_the_same_share_of_every_class(tmp_path):
    save_pictures(tmp_path, *(f"{name}/{i}.png" for name in "ab" for i in range(8)))
    found = load_domain(registry(), use("folder", path=str(tmp_path), holdout=0.25, grey=True), "test", 16)
    assert found.labels.tolist() == [0, 0, 1, 1] and found.channels == 1
