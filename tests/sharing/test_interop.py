"""Together with other libraries: a run as a torchvision transform, in data loaders, and generated data sets."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from commands import in_process
from domtrans import Attribute, DomtransError, ImageSet, generate, load, load_domain, load_plugins, use
from tiny import bars, registry

COUNTED = tuple(map(str, range(17)))
PIXELS = torch.from_numpy(bars(6)[0]).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def run(trained):
    return load(trained[0], device="cpu", registry=registry())


@pytest.fixture(scope="module")
def source(run):
    return load_domain(run.registry, run.recipe.source, "train", 32)


def alike(found, wanted):
    """Equal up to one level: in a batch of another size, sums are taken in another order."""
    return found.shape == wanted.shape and found.dtype == wanted.dtype and (found.int() - wanted.int()).abs().max() <= 1


def as_picture(image):
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def test_a_transform_of_pictures_and_of_tensors(run):
    made = run.transfer(PIXELS)
    pictures = v2.Compose([v2.CenterCrop(32), run, v2.PILToTensor()])
    assert alike(pictures(as_picture(PIXELS[0])), made[0])
    pixels = v2.Compose([v2.PILToTensor(), run, v2.ToDtype(torch.float32, scale=True)])
    torch.testing.assert_close(pixels(as_picture(PIXELS[1])), made[1] / 255, atol=1.1 / 255, rtol=0)
    assert torch.equal(run(PIXELS), made), "a batch is a batch"
    assert run(PIXELS[0] / 127.5 - 1).shape == (1, 32, 32), "floats are in [-1, 1], as everywhere"


def test_a_pickled_run_is_the_name_of_its_file(run, trained, monkeypatch):
    sent = pickle.dumps(run)
    assert len(sent) < 1000 and str(trained[0]).encode() in sent
    monkeypatch.chdir("/")
    arrived = pickle.loads(sent)
    assert torch.equal(arrived.transfer(PIXELS), run.transfer(PIXELS)) and arrived.session.device == run.session.device


def test_a_transform_in_the_workers_of_a_data_loader(run, tmp_path):
    for number, image in enumerate(PIXELS):
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        as_picture(image).save(tmp_path / str(number % 2) / f"{number}.png")
    images = ImageFolder(tmp_path, v2.Compose([run, v2.PILToTensor()]))
    found = torch.cat([batch for batch, _ in DataLoader(images, 4, num_workers=1)])
    assert alike(found, run.transfer(PIXELS[[0, 2, 4, 1, 3, 5]]))


def test_an_image_folder_keeps_the_labels(run, source, trained, tmp_path, capsys):
    code, out, _ = in_process(capsys, "generate", trained[0], tmp_path / "made", "--device", "cpu")
    assert code == 0 and out == f"wrote 12 images of 4 classes to {tmp_path / 'made'}\n"
    made = ImageFolder(tmp_path / "made", v2.Compose([v2.Grayscale(), v2.PILToTensor()]))
    assert tuple(made.classes) == source.classes and len(made) == len(source) == 12
    wanted = run.transfer(source.images)
    for (path, _), (image, label) in zip(made.samples, made, strict=True):
        number = int(path.rpartition("/")[2].removesuffix(".png"))
        assert label == source.labels[number] and torch.equal(image, wanted[number])
    about = json.loads((tmp_path / "made" / "about.json").read_text())
    assert about["split"] == "train" and about["count"] == 12 and about["recipe"] == "digits-dtn-paper"
    assert "domain arrays" in about["credits"] and len(about["model_sha256"]) == 64


def test_a_split_and_a_count(run, tmp_path):
    assert generate(run, tmp_path / "test", split="test").count == 4
    assert generate(run, tmp_path / "few", count=4).count == 4
    classes = [path.parent.name for path in (tmp_path / "few").rglob("*.png")]
    assert len(set(classes)) > 1, "evenly over the set"
    assert generate(run, tmp_path / "many", count=1000).count == 12


@pytest.fixture(scope="module")
def attributed(trained):
    """The same run on a source with attributes."""
    glasses = Attribute(("no", "yes"), torch.tensor([0, 1, -1, 1, 0, 0]))

    def people(split, size):
        return ImageSet(PIXELS, torch.arange(6) % 3, ("ann", "bob", "c/d"), attributes={"glasses": glasses})

    found = load_plugins().registry
    found.domain("people", people)
    found.domain("seventeen", lambda split, size: ImageSet(PIXELS[:1].repeat(17, 1, 1, 1), torch.arange(17), COUNTED))
    found.domain("strangers", lambda split, size: ImageSet(PIXELS))
    return load(trained[0], device="cpu", registry=found)


def test_a_count_takes_exactly_every_nth_image(attributed, tmp_path):
    generate(of(attributed, "seventeen"), tmp_path / "made", count=15)
    chosen = sorted(int(file.parent.name) for file in (tmp_path / "made").rglob("*.png"))
    assert chosen == [k * 16 // 14 for k in range(15)]


def of(run, name):
    run.recipe = run.recipe.model_copy(update={"source": use(name)})
    return run


def test_a_webdataset_keeps_classes_and_attributes(attributed, tmp_path, monkeypatch):
    monkeypatch.setattr("domtrans.sharing.generate.SHARD_IMAGES", 4)
    made = generate(of(attributed, "people"), tmp_path / "made", format="webdataset")
    assert made.attributes == ("glasses",) and made.classes == ("ann", "bob", "c/d")
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert names == {"shard-000000.tar", "shard-000001.tar", "vocabulary.json", "about.json"}
    with tarfile.open(tmp_path / "made" / "shard-000000.tar") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    assert files["00000001.cls"] == b"1"
    assert json.loads(files["00000001.json"]) == {"class": "bob", "attributes": {"glasses": "yes"}}
    assert json.loads(files["00000002.json"]) == {"class": "c/d"}, "unknown values are left out"
    with Image.open(io.BytesIO(files["00000003.png"])) as image:
        assert np.array_equal(np.asarray(image), attributed.transfer(PIXELS)[3, 0].numpy())
    again = load_domain(registry(), use("webdataset", path=str(tmp_path / "made"), holdout=0, grey=True), "train", 32)
    assert again.classes == made.classes and again.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert again.attributes["glasses"].values == ("no", "yes")
    assert again.attributes["glasses"].index.tolist() == [0, 1, -1, 1, 0, 0]
    assert torch.equal(again.images, attributed.transfer(PIXELS))


def test_a_source_without_labels(attributed, tmp_path):
    generate(of(attributed, "strangers"), tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "folder").glob("*.png"))[0] == "000000.png"
    generate(attributed, tmp_path / "shards", format="webdataset")
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar") as tar:
        assert tar.getnames() == [f"{number:08d}.png" for number in range(6)]


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset"])
@pytest.mark.parametrize(
    "classes",
    [
        ("10", "2", "cat"),
        ("b", "a", "c"),  # in another order than that of the folders
        ("train", "test", "val"),  # like splits
        ("1 cat", "2 dog", "3 cat"),  # like numbered names
        ("trainA", "trainB", "empty"),
    ],
    ids=repr,
)
def test_a_generated_set_is_read_back_with_the_same_labels(attributed, tmp_path, kind, classes):
    labels = torch.tensor([0, 0, 1, 1, 1, 0])  # the last class has no images
    name = f"odd-{kind}-{'-'.join(classes).replace(' ', '_')}"
    attributed.registry.domain(name, lambda split, size: ImageSet(PIXELS, labels, classes))
    generate(of(attributed, name), tmp_path / "made", format=kind)
    reader = {"imagefolder": "folder", "webdataset": "webdataset"}[kind]
    again = load_domain(registry(), use(reader, path=str(tmp_path / "made"), holdout=0, grey=True), "train", 32)
    of_image = dict(zip((image.numpy().tobytes() for image in again.images), again.labels.tolist(), strict=True))
    drawn = attributed.transfer(PIXELS)
    assert again.classes == classes
    assert [of_image[image.numpy().tobytes()] for image in drawn] == labels.tolist()
    assert again.notes == (f"class {classes[2]} has no images",)


@pytest.mark.parametrize(
    "classes", [("a/b",), ("..",), ("",), ("Cat", "cat"), (".hidden",), ("a\nb",), (" a",), ("__MACOSX",)], ids=repr
)
def test_a_class_that_cannot_be_a_folder_name_is_refused(attributed, tmp_path, classes):
    name = f"odd-{classes!r}".translate({ord(letter): "_" for letter in " .\n"})
    attributed.registry.domain(name, lambda split, size: ImageSet(PIXELS[:1], torch.tensor([0]), classes))
    with pytest.raises(DomtransError, match="use the format webdataset"):
        generate(of(attributed, name), tmp_path / "made")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format", "zip"], "the format 'zip' is not supported; choose imagefolder, webdataset"),
        (["--split", "all"], "there is no split 'all'; choose train or test"),
        (["--count", "0"], "count=0 is out of range; it must be at least 1"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(trained, tmp_path, capsys, words, sentence):
    code, out, err = in_process(capsys, "generate", trained[0], tmp_path / "made", *words, "--device", "cpu")
    assert code == 2 and sentence in err and out == "" and not list(tmp_path.iterdir())


def test_a_set_is_written_whole_or_not_at_all(run, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    with pytest.raises(DomtransError, match="exists already"):
        generate(run, tmp_path / "full")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DomtransError, match="cannot be written: No space left on device"):
        generate(run, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
