"""Data in memory in every form: the images, classes and splits that are read, and what is refused."""

import gc
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import domtrans
from domtrans import DomtransError, ImageSet
from domtrans.data.from_python import read_data
from domtrans.data.value_range import to_bytes
from tiny import bars, registry


@pytest.fixture(scope="module")
def images():
    return bars(32)


def both(data, size=32, **options):
    """Training and test images together, in the order of the data; every class is split 7 to 1."""
    read = read_data(data, size, "source", **options)
    return read.train, read.test


def pil(array):
    return Image.fromarray(array.squeeze())


class Items(Dataset):
    def __init__(self, *columns):
        self.columns = columns

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, index):
        item = tuple(column[index] for column in self.columns)
        return item if len(item) > 1 else item[0]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


def feature(kind, **attributes):
    made = type(kind, (), {})()
    vars(made).update(attributes)
    return made


class HubSet:
    """As ``datasets.Dataset``: rows by number, columns with features."""

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    @property
    def column_names(self):
        return list(self.columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index):
        return {name: column[index] for name, column in self.columns.items()}

    def select_columns(self, names):
        return HubSet({name: self.columns[name] for name in names}, {name: self.features[name] for name in names})


def forms(images, labels):
    """The same images and labels in every form."""
    chw = torch.from_numpy(images).permute(0, 3, 1, 2)
    pictures = [pil(image) for image in images]
    names = HubSet(
        {"id": [{}] * len(images), "photo": pictures, "kind": labels.tolist()},
        {"id": feature("Value"), "photo": feature("Image"), "kind": feature("ClassLabel", names=["0", "1", "2", "3"])},
    )
    return {
        "array": (images, labels),
        "tensor": (chw, torch.from_numpy(labels)),
        "channels first": (chw.numpy(), labels.tolist()),
        "floats from 0": ((images / 255).astype(np.float32), labels),
        "doubles from 0": (images / 255, labels[:, None]),
        "floats from -1": (chw / 127.5 - 1, torch.from_numpy(labels)),
        "floats to 255": (images.astype(np.float32), labels),
        "integers": (images.astype(np.int64), labels.astype(float)),
        "pil and labels": (pictures, labels),
        "pairs": list(zip(pictures, labels.tolist(), strict=True)),
        "torch pil": Items(pictures, labels),
        "torch uint8": Items(chw, torch.from_numpy(labels)),
        "torch floats": Items(chw / 255, labels),
        "torch normalised": TensorDataset(chw / 127.5 - 1, torch.from_numpy(labels)),
        "torch arrays": Items(images, labels),
        "subset": Subset(Items(pictures, labels), range(len(images))),
        "unlabelled set and labels": (Items(pictures), labels),
        "hub": names,
        "rows": [{"image": image, "label": int(label)} for image, label in zip(pictures, labels, strict=True)],
        "image set": ImageSet.from_arrays(images, labels, size=32),
    }


@pytest.mark.parametrize("form", forms(*bars(4)))
def test_every_form_gives_the_same_images_and_classes(images, form):
    expected, got = both(forms(*images)["array"]), both(forms(*images)[form])
    for one, other in zip(expected, got, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels) and one.classes == other.classes == ("0", "1", "2", "3")
    assert [len(one) for one in got] == [28, 4]


def test_the_split_is_that_of_an_npz_file(images, tmp_path):
    np.savez(tmp_path / "a.npz", images=images[0], labels=images[1])
    part = domtrans.use("arrays", path=str(tmp_path / "a.npz"))
    for split, mine in zip(("train", "test"), both(images), strict=True):
        assert domtrans.load_domain(registry(), part, split, 32).fingerprint() == mine.fingerprint()


def test_floats_are_read_with_a_note_and_bytes_without(images):
    array, labels = images
    for data, words in (
        (array / 255, "float64 values from 0 to 0.976471 were read as 0 (black) to 1 (white)"),
        (torch.from_numpy(array) / 127.5 - 1, "float32 values from -1 to 0.952941 were read as -1 (black) to 1 (white)"),
        (Items(array.astype(np.float32), labels), "float32 values from 0 to 249 were read as 0 (black) to 255 (white)"),
        (array > 128, "bool values from 0 to 1 were read as 0 (black) to 1 (white)"),
        ((array.astype(np.uint16) * 257), "uint16 values from 0 to 63993 were read as 0 (black) to 65535 (white)"),
    ):
        train, test = both(data)
        assert train.notes == test.notes == (words,)
    assert both(array)[0].notes == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.0, 3.0), "float32 values from 0 to 3, which are not clearly 0 to 1, -1 to 1 or 0 to 255; undo a normalisation"),
        ((-0.2, 1.0), "float32 values from -0.2 to 1, which are not clearly"),
        ((-2.1, 2.6), "from -2.1 to 2.6, which are not clearly"),
        ((0.0, 300.0), "from 0 to 300, which are not clearly"),
        ((0.0, float("nan")), "not finite"),
        ((0.0, float("inf")), "not finite"),
    ],
)
def test_an_unclear_range_is_refused_and_can_be_stated(values, words):
    data = torch.linspace(0, 1, 16 * 32 * 32).reshape(16, 1, 32, 32) * (values[1] - values[0]) + values[0]
    for form in (data, Items(data), data.numpy()):
        with pytest.raises(DomtransError, match="the source") as error:
            both(form)
        assert words in str(error.value)
    if np.isfinite(values[1]):
        stated = both({"train": data, "value_range": values})[0]
        assert stated.images.min() == 0 and stated.notes[0].endswith(
            f"were given as {values[0]:g} (black) to {values[1]:g} (white)"
        )
        with pytest.raises(DomtransError, match="outside the stated range from"):
            both({"train": data, "value_range": (values[0], values[1] / 2)})


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16", "int16"])
def test_integers_of_0_and_1_are_refused(dtype):
    data = (np.indices((16, 32, 32)).sum(0) % 2).astype(dtype)
    readings = "0 to 1, 0 to 255 or 0 to 65535" if dtype == "uint16" else "0 to 1 or 0 to 255"
    with pytest.raises(DomtransError, match=f"{dtype} values from 0 to 1, which can mean {readings}; say which values are"):
        both(data)
    assert both({"train": data, "value_range": (0, 1)})[0].images.unique().tolist() == [0, 255]


def test_bytes_in_16_bits_have_two_readings():
    data = np.arange(16 * 32 * 32).reshape(16, 32, 32).astype(np.uint16) % 256
    with pytest.raises(DomtransError, match="uint16 values from 0 to 255, which can mean 0 to 255 or 0 to 65535"):
        both(data)
    assert both({"train": data, "value_range": (0, 255)})[0].images.max() == 255


def test_splits_share_their_classes_and_channels(images):
    array, labels = images
    grey = [pil(image).convert("L") for image in array[:8]]
    train, test = both({"train": (array, labels), "test": (grey, ["3", "10"] * 4)})
    assert train.classes == test.classes == ("0", "1", "2", "3", "10")
    assert test.labels.tolist() == [3, 4] * 4 and train.labels.tolist() == labels.tolist()
    assert train.channels == test.channels == 3
    assert train.notes == test.notes == (
        "classes 0, 1, 2 have no test images", "class 10 has no training images")  # fmt: skip
    named = both({"train": array, "validation": array[:8], "val": array[:4]})
    assert [len(one) for one in named] == [32, 8] and named[0].notes == ("the val split was not used",)
    assert [len(one) for one in both({"train": (array, labels)})] == [28, 4]
    with pytest.raises(DomtransError, match=r'needs training images: pass {"train": X, "test": Y}'):
        both({"test": array})


def test_grey_stays_grey_and_mixed_becomes_colour(images):
    pictures = [pil(image) for image in images[0][:8]]
    grey = [picture.convert("L") for picture in pictures]
    assert both(grey)[0].channels == 1
    mixed = both({"train": [*grey[:4], *pictures[4:]], "test": grey})[0]
    assert mixed.channels == 3 and torch.equal(mixed.images[0, 0], mixed.images[0, 2])


def test_arrays_that_may_not_be_written_are_read_without_a_warning(images):
    array, _ = images
    array = array.copy()
    array.setflags(write=False)
    assert len(both(array)[0]) == len(both(list(array))[0]) == 28


def test_images_of_any_shape_become_squares_as_those_in_files():
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (40 + 3 * k, 70 - k, 3), dtype=np.uint8)) for k in range(16)]
    mine = both(pictures, size=16)[0]
    tensors = both([torch.from_numpy(np.array(one)) for one in pictures], size=16)[0]
    assert (mine.images.int() - tensors.images.int()).abs().max() <= 1
    floats = both([torch.from_numpy(np.array(one)) / 255 for one in pictures], size=16)[0]
    assert (mine.images.int() - floats.images.int()).abs().max() <= 1


def test_class_names_come_from_the_data_set(images):
    array, labels = images
    data = Items([pil(image) for image in array], labels.tolist())
    data.classes = ["cat", "dog", "fox", "owl", "elk"]
    train, test = both(Subset(data, range(32)))
    assert train.classes == test.classes == ("cat", "dog", "fox", "owl", "elk")
    data.classes = ["0 - zero", "1 - one", "2 - two", "3 - three"]
    assert both(data)[0].classes == ("0", "1", "2", "3")
    assert both((array, ["b", "a", "c", "a"] * 8))[0].classes == ("a", "b", "c")
    assert both((array, None))[0].labels is None
    unlabelled = both(Items(array, [-1] * 32))[0]
    assert unlabelled.labels is None and unlabelled.notes == ("all labels are -1, so the images are taken as unlabelled",)


def test_grey_images_become_as_many_channels_as_those_of_the_other_split():
    grey, bands = (ImageSet(torch.full((4, channels, 8, 8), 7, dtype=torch.uint8)) for channels in (1, 4))
    found = read_data({"train": grey, "test": bands}, 8, "source")
    assert found.train.shape == (4, 4, 8, 8) and found.test.channels == 4 and bool((found.train.images == 7).all())
    rgb = ImageSet(torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(
        DomtransError, match="the training images of the source have 3 channels and its test images 4; give both"
    ):
        read_data({"train": rgb, "test": bands}, 8, "source")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (3, "the source is int, which is not a set of images; pass an ImageSet, an array"),
        (np.zeros((0, 32, 32), np.uint8), "is empty"),
        (np.zeros((32, 32), np.uint8), "is one image, and training needs many"),
        (Image.new("L", (8, 8)), "is one image"),
        (np.zeros((9, 32, 32, 4), np.uint8), r"must be .*\[N, 1 or 3, H, W\], not \[9, 32, 32, 4\]"),
        (np.zeros((9, 32, 32), np.complex64), "must be numbers, not complex64"),
        ([], "the source has no images"),
        (["a.png", "b.png"], 'list of paths; for image files, set source.path and source="folder"'),
        ([np.zeros((8, 8, 3), np.uint8), Image.new("L", (8, 8))], "image 1 of the source is of type PIL image, but"),
        ([{"file": 1}], "items of the source have the keys file, and none of them is 'image'"),
        (["x", 1], "list of paths"),
        ([1, 2], "image 0 of the source is int; images are PIL images, or tensors or arrays"),
        ([(Image.new("L", (8, 8)), 1), (Image.new("L", (8, 8)), None)], "1 of the 2 images of the source lack a label"),
        ((np.zeros((9, 8, 8), np.uint8), [1, 2]), "the source: there are 9 images but 2 labels"),
        ((np.zeros((2, 8, 8), np.uint8), np.eye(2)), r"one-hot labels become indices with labels.argmax\(1\)"),
        ((x for x in ()), "it has no length, so pass list"),
        (DataLoader(TensorDataset(torch.zeros(4, 3, 8, 8))), "pass the data set of the loader: loader.dataset"),
        (Stream(), "it has no length"),
        (HubSet({"a": [1], "b": [2]}, {"a": feature("Image"), "b": feature("Image")}), r"several columns of images \(a, b\)"),
        (HubSet({"a": [1]}, {"a": feature("Value")}), "has no column of images; its columns are a; rename one to 'image'"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_images_is_refused(data, words):
    with pytest.raises(DomtransError, match=words):
        both(data)


def test_an_item_that_cannot_be_read_is_named():
    class Broken(Items):
        def __getitem__(self, index):
            raise KeyError("gone") if index == 3 else AssertionError

    broken = Broken(list(range(5)))
    broken.__class__.__getitem__ = lambda self, index: (1 / 0) if index == 3 else Image.new("L", (8, 8))
    with pytest.raises(DomtransError, match="image 3 of the source cannot be read: ZeroDivisionError"):
        both(broken)


def test_data_is_freed_after_the_call():
    array = ImageSet.from_arrays(*bars(16), size=32)
    gone = weakref.ref(array)
    extended = domtrans.load_plugins().registry
    from domtrans.data.from_python import with_data

    data = read_data({"train": array, "test": array}, 32, "source")
    copy = with_data(extended, [data])
    assert domtrans.load_domain(copy, data.part, "train", 32).fingerprint() == array.fingerprint()
    del copy, data, array
    gc.collect()
    assert gone() is None


def test_bytes_are_not_copied(images):
    assert to_bytes(images[0], "source")[0] is images[0]


def test_an_image_set_is_a_map_style_data_set():
    array, labels = bars(8)
    images = ImageSet.from_arrays(array, labels, size=32)
    image, label = images[3]
    assert label == 3 and torch.equal(image, torch.from_numpy(array[3]).permute(2, 0, 1) / 127.5 - 1)
    assert torch.equal(images[-1][0], images[7][0]) and images.unlabelled()[0].shape == (3, 32, 32)
    assert len(list(images)) == 8
    batches = list(DataLoader(images, batch_size=4, num_workers=0))
    assert [list(x.shape) for x, _ in batches] == [[4, 3, 32, 32]] * 2
    assert torch.cat([y for _, y in batches]).tolist() == labels.tolist()
    for wrong in (8, -9):
        with pytest.raises(IndexError, match="there are 8 images"):
            images[wrong]
