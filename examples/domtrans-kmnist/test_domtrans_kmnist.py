"""Check the plugin's contracts on a small data set in the format of the real one."""

import gzip
from pathlib import Path

import domtrans_kmnist
import numpy as np
import pytest

from domtrans import DomtransError, Plugins, load_plugins
from domtrans.testing import check_domain, check_recipe


def write_small(folder: Path) -> None:
    """Write the four idx files, with 20 noisy strokes each."""
    rng = np.random.default_rng(0)
    for stem in ("train", "t10k"):
        images = rng.integers(0, 50, (20, 28, 28), dtype=np.uint8)
        labels = np.arange(20, dtype=np.uint8) % 10
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 6, 4:24] += 200
        for name, values in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            (folder / f"{name}.gz").write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A folder with a small data set."""
    write_small(tmp_path)
    return str(tmp_path)


@pytest.fixture
def plugins() -> Plugins:
    """This plugin and the shipped ones, without any others that are installed."""
    return load_plugins(domtrans_kmnist, only=())


def test_domain(plugins: Plugins, root: str) -> None:
    check_domain(plugins, "kmnist", root=root)


def test_recipe(plugins: Plugins, root: str) -> None:
    small = {"target.root": root, "fit.steps": 2, "train.batch_size": 8, "generator.width": 8, "discriminator.width": 8}
    check_recipe(plugins, "brushed-digits", overrides=small, steps=2)


def test_data_set_class(root: str) -> None:
    images = domtrans_kmnist.KuzushijiImages(Path(root), "test")
    assert len(images) == 20
    assert images[3][0].shape == (28, 28)
    assert images[3][1] == 3


def test_missing_and_damaged_files_are_one_sentence(root: str, tmp_path: Path) -> None:
    with pytest.raises(DomtransError, match="put the four files of"):
        domtrans_kmnist.kmnist("train", 32, root=str(tmp_path / "nowhere"))
    path = Path(root) / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DomtransError, match="not a complete idx file"):
        domtrans_kmnist.kmnist("test", 32, root=root)
