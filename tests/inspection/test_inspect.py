"""``domtrans inspect``: counts, sizes, skipped and damaged files, duplicates, and words that read data in the same way."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import in_process
from digit_files import write_mnist
from domtrans import DataReader, ImageSet
from domtrans.data.domains import load_domain
from domtrans.errors import DomtransError
from domtrans.inspection.duplicates import find_near
from domtrans.inspection.file_facts import FactsTable, ImageFacts, difference_hash, image_kind
from domtrans.inspection.inspect import inspect
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override
from tiny import registry
from tiny_shards import write_shards, write_tar

RNG = np.random.default_rng(0)


def photo(path, size=(40, 30), *, grey=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = RNG.integers(0, 256, (6, 6) if grey else (6, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """Two splits: cat, dog (none in test), 9 and 10, a leak, a copy, a smaller version, a damaged file and a .txt."""
    root = tmp_path / "photos"
    for split, count in (("train", 4), ("test", 2)):
        for name in ("cat", "9", "10") if split == "test" else ("cat", "dog", "9", "10"):
            for i in range(count):
                photo(root / split / name / f"{i}.png", (40 + i, 30), grey=name == "9")
    train = root / "train"
    shutil.copy(train / "cat" / "0.png", train / "cat" / "copy.png")
    shutil.copy(train / "cat" / "1.png", root / "test" / "cat" / "leak.png")
    with Image.open(train / "dog" / "0.png") as image:
        image.resize((80, 60)).save(train / "dog" / "near.jpg", quality=90)
    damaged = train / "dog" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    (train / "notes.txt").write_text("x")
    (train / ".DS_Store").write_text("x")
    return root


def as_json(capsys, *words):
    code, out, error = in_process(capsys, "inspect", *words, "--json")
    assert code == 0, error
    return json.loads(out)


def test_json_has_every_value_of_a_folder(photos, capsys):
    document = as_json(capsys, photos)
    assert document.keys() == {"data", "quick", "domains"} and document["data"] == str(photos)
    assert document["quick"] is False and document["domains"].keys() == {"source"}
    found = document["domains"]["source"]
    damaged = found.pop("damaged")
    assert found == {
        "domain": "folder",
        "words": ["source=folder", f"source.path={photos}", "source.layout=splits"],
        "splits": {"train": 18, "test": 7},
        "classes": {
            "9": {"train": 4, "test": 2},
            "10": {"train": 4, "test": 2},
            "cat": {"train": 5, "test": 3},
            "dog": {"train": 5, "test": 0},
        },
        "attributes": {},
        "gaps": ["dog: no images in test"],
        "sizes": {"smallest": [40, 30], "median": [41, 30], "largest": [80, 60], "from": "headers"},
        "kinds": {"colour": 18, "grey": 6},
        "formats": {"PNG": 23, "JPEG": 1},
        "skipped": [
            {"reason": "hidden file", "count": 1, "example": "train/.DS_Store", "quiet": True},
            {"reason": "not an image (.txt)", "count": 1, "example": "train/notes.txt", "quiet": False},
        ],
        "images_in_folder": 25,
        "notes": ["1 file was skipped: 1 not an image (.txt)", "class dog has no test images"],
        "duplicates": {
            "exact": {
                "inside_train": 1,
                "inside_test": 0,
                "across": 1,
                "examples": [
                    ["train/cat/1.png", "test/cat/leak.png"],
                    ["train/cat/0.png", "train/cat/copy.png"],
                ],
            },
            "near": {
                "inside_train": 2,
                "inside_test": 0,
                "across": 0,
                "examples": [["train/dog/0.png", "train/dog/near.jpg"]],
            },
        },
    }
    assert (damaged["checked"], damaged["count"]) == (25, 1)
    assert [one["file"] for one in damaged["files"]] == ["train/dog/1.png"]


def test_quick_reads_headers_and_searches_no_duplicates(photos, capsys):
    found = as_json(capsys, photos, "--quick")["domains"]["source"]
    assert found["duplicates"] is None and found["damaged"]["count"] == 1 and found["splits"] == {"train": 18, "test": 7}


def test_the_table_says_what_is_skipped_repeated_and_damaged(photos, capsys):
    code, out, error = in_process(capsys, "inspect", photos)
    assert code == 0 and not error
    for line in (
        r"images +18 +7",
        r"class dog +5 +0",
        r"skipped +1 not an image \(.txt\), e.g. train/notes.txt",
        r"label gaps +dog: no images in test",
        r"duplicates +1 inside train, 0 inside test, 1 in test and train",
        r"near duplicates \(estimate\) +2 inside train",
        r"damaged +1; 25 images decoded",
        rf"read with: source=folder source.path={re.escape(str(photos))} source.layout=splits",
    ):
        assert re.search(rf"^{line}", out, re.MULTILINE), line


def test_a_table_that_is_no_label_file_is_listed_and_a_label_file_is_not(tmp_path, capsys):
    for i in range(8):
        photo(tmp_path / f"{i}.png", (40, 30))
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(8)))
    (tmp_path / "prices.csv").write_text("fruit,price\napple,3\n")
    found = as_json(capsys, tmp_path)["domains"]["source"]
    assert found["skipped"] == [{"reason": "no label file (.csv)", "count": 1, "example": "prices.csv", "quiet": False}]
    _, out, _ = in_process(capsys, "inspect", tmp_path)
    assert "1 no label file (.csv), e.g. prices.csv" in out and "file was skipped" not in out


def make_npz(folder):
    images = RNG.integers(0, 256, (40, 20, 28, 3), dtype=np.uint8)
    images[1], images[9] = images[0], images[3]
    np.savez(folder / "data.npz", images=images, labels=np.repeat([1, 2, 4, 5], 10))
    return folder / "data.npz"


def make_shards(folder):
    images = RNG.integers(0, 256, (40, 20, 28, 3), dtype=np.uint8)
    images[1] = images[0]
    write_shards(folder / "shards", images, np.repeat([1, 2], 20))
    write_tar(folder / "shards" / "999999.tar", [("a.txt", b"x")])
    return folder / "shards"


def make_idx(folder):
    write_mnist(folder / "idx")
    write_mnist(folder / "idx", stem="t10k")
    return folder / "idx"


def make_photos(folder):
    for name in ("a", "b"):
        for i in range(10):
            photo(folder / "own photos" / name / f"{i}.png")
    return folder / "own photos"


@pytest.mark.parametrize("make", [make_npz, make_shards, make_idx, make_photos])
def test_the_printed_words_read_the_same_images(make, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    data = make(tmp_path)
    code, out, error = in_process(capsys, "inspect", data)
    assert code == 0, error
    (line,) = (line for line in out.splitlines() if line.startswith("read with: "))
    words = shlex.split(line.removeprefix("read with: "))
    recipe = override(find_recipe("digits-dtn", registry()), words, registry())
    found = as_json(capsys, data)["domains"]["source"]
    assert words == found["words"]
    for split, count in found["splits"].items():
        images = load_domain(registry(), recipe.source, split, 32)
        counts = np.bincount(images.labels, minlength=len(images.classes)).tolist()
        assert len(images) == count
        assert dict(zip(images.classes, counts, strict=True)) == {name: by[split] for name, by in found["classes"].items()}


def test_arrays_have_their_own_size_and_duplicates(tmp_path, capsys):
    found = as_json(capsys, make_npz(tmp_path))["domains"]["source"]
    assert found["sizes"] == {"smallest": [28, 20], "median": [28, 20], "largest": [28, 20], "from": "arrays"}
    assert found["gaps"] == ["3: no images"] and found["kinds"] == {"colour": 40}
    exact = found["duplicates"]["exact"]
    assert (exact["inside_train"], exact["inside_test"], exact["across"]) == (1, 0, 1)


def test_shards_name_what_they_skip_and_find_copies(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    found = as_json(capsys, make_shards(tmp_path), "holdout=0.5")["domains"]["source"]
    assert found["splits"] == {"train": 20, "test": 20} and "a.txt" in found["notes"][0]
    assert found["words"] == ["source=webdataset", f"source.path={tmp_path / 'shards'}", "source.holdout=0.5"]
    assert found["duplicates"]["exact"]["inside_train"] == 1


def test_idx_files_that_are_train_and_test_are_the_same_images(tmp_path, capsys):
    found = as_json(capsys, make_idx(tmp_path))["domains"]["source"]
    assert found["domain"] == "mnist" and found["duplicates"]["exact"]["across"] == 20
    assert found["sizes"]["median"] == [28, 28]


def test_a_recipe_has_source_and_target(tmp_path, capsys):
    data = make_npz(tmp_path)
    words = ["digits-dtn", "source=arrays", f"source.path={data}", "target=arrays", f"target.path={data}"]
    domains = as_json(capsys, *words)["domains"]
    assert domains.keys() == {"source", "target"} and domains["target"]["words"][0] == "target=arrays"


def test_an_unclear_folder_is_refused_with_its_readings(tmp_path, capsys):
    photo(tmp_path / "both" / "a.png")
    write_tar(tmp_path / "both" / "000.tar", [("a.txt", b"x")])
    code, out, error = in_process(capsys, "inspect", tmp_path / "both")
    assert (code, out) == (2, "") and error.endswith("choose a reading: source=folder, or source=webdataset\n")
    for i in range(6):
        photo(tmp_path / "mixed" / f"{i}.png")
        photo(tmp_path / "mixed" / "a" / f"{i}.png")
        photo(tmp_path / "mixed" / "b" / f"{i}.png")
    code, _, error = in_process(capsys, "inspect", tmp_path / "mixed")
    assert code == 2 and "layout=classes" in error and "layout=flat" in error
    assert as_json(capsys, tmp_path / "mixed", "layout=flat")["domains"]["source"]["classes"] == {}


class ScanReader(DataReader):
    """Folders of 12 x 10 pixels with an index; an older index is refused."""

    def options(self, data):
        folder = Path(data)
        if (folder / "index.old").is_file():
            raise DomtransError(f"{data} has an index of version 1; convert it")
        return {"path": data} if (folder / "index.scan").is_file() else None

    def shape(self, options):
        return 10, 12


def scans(split: str, size: int, *, path: str = "") -> ImageSet:
    """As many grey scans as the index says."""
    count = int((Path(path) / "index.scan").read_text())
    return ImageSet.from_arrays(RNG.integers(0, 256, (count, 10, 12), dtype=np.uint8), size=size)


def with_scans():
    """A registry of its own, in which the domain has a reader."""
    parts = registry().with_part("domain", "scans-by-name", scans)
    parts.domain("scans", scans, reader=ScanReader())
    return parts


def test_the_reader_of_a_plugin_recognises_its_data(tmp_path):
    (tmp_path / "index.scan").write_text("7")
    with pytest.raises(DomtransError, match="there are no images in"):
        inspect(str(tmp_path), registry=registry())
    parts = with_scans()
    found = inspect(str(tmp_path), registry=parts).to_json()["domains"]["source"]
    assert found["words"] == ["source=scans", f"source.path={tmp_path}"]
    assert found["splits"] == {"train": 7, "test": 7} and found["sizes"]["median"] == [12, 10]
    photo(tmp_path / "a.png")
    with pytest.raises(DomtransError, match="choose a reading: source=folder, or source=scans"):
        inspect(str(tmp_path), registry=parts)


def test_a_reader_may_say_why_its_data_cannot_be_read(tmp_path):
    (tmp_path / "index.old").write_text("7")
    with pytest.raises(DomtransError, match="has an index of version 1; convert it"):
        inspect(str(tmp_path), registry=with_scans())


def test_a_folder_of_array_files_is_refused_with_their_names(tmp_path):
    make_npz(tmp_path)
    with pytest.raises(DomtransError, match=r"has no images of its own; inspect one of its files: data.npz"):
        inspect(str(tmp_path), registry=registry())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing/here", "there is no file, folder or recipe"),
        ("data.zip", "unpack it"),
        ("own.mat", "not named like a file of SVHN"),
        ("notes.txt", "not data that domtrans can read"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(name, words, tmp_path, capsys):
    if "/" not in name:
        (tmp_path / name).write_text("x")
    code, out, error = in_process(capsys, "inspect", tmp_path / name)
    assert (code, out, error.count("\n")) == (2, "", 1) and words in error


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DomtransError, match="is not data that domtrans can read"):
        inspect(str(tmp_path / "pipe"), registry=registry())


def test_options_of_other_parts_are_refused(tmp_path):
    with pytest.raises(DomtransError, match="is not an option of data"):
        inspect(str(make_npz(tmp_path)), ["train.steps=3"], registry=registry())


def test_the_sheet_has_a_row_for_each_class_and_replaces_no_foreign_file(photos, capsys):
    sheet = photos.parent / "sheet.png"
    for _ in range(2):  # its own sheet may be replaced
        assert in_process(capsys, "inspect", photos, "--sheet", sheet)[0] == 0
    with Image.open(sheet) as image:
        assert image.size == (150 + 10 * 68 + 4, 4 * 68 + 4)
    Image.new("L", (8, 8)).save(sheet)
    code, _, error = in_process(capsys, "inspect", photos, "--sheet", sheet)
    assert code == 2 and "was not written by domtrans" in error
    with Image.open(sheet) as image:
        assert image.size == (8, 8)
    assert in_process(capsys, "inspect", photos, "--sheet", sheet, "--force")[0] == 0


def test_a_hundred_thousand_images_take_little_memory():
    table = FactsTable()
    for k in range(100_000):
        table.add(ImageFacts(640, 480, "colour", "JPEG", content=k, appearance=k << 40, decoded=True))
    assert table.count == 100_000 and table.nbytes <= 32 * 100_000
    kept = [value for value in vars(table).values() if isinstance(value, list | dict)]
    assert sum(map(len, kept)) <= 2


def test_near_images_differ_in_at_most_four_bits():
    table = FactsTable()
    values = [0xF0F0_1234_5678_9ABC, 0xF0F0_1234_5678_9ABC ^ 0b1111 << 30, 0x0F0F_0F0F_FFFF_0000]
    values.append(values[2] ^ 0b11111)
    for k, value in enumerate(values):
        table.add(ImageFacts(8, 8, "grey", content=k, appearance=value, decoded=True))
    found = find_near({"train": table})
    assert found.inside == {"train": 2} and found.examples == [(("train", 0), ("train", 1))]


def test_the_hash_says_where_it_gets_brighter_and_kinds_have_alpha():
    ramp = Image.fromarray(np.tile(np.arange(0, 180, 20, dtype=np.uint8), (8, 1)))
    assert difference_hash(ramp) == 2**64 - 1 and difference_hash(ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 0
    assert [image_kind(Image.new(mode, (2, 2))) for mode in ("L", "LA", "I;16", "RGBA", "CMYK")] == [
        "grey",
        "grey with alpha",
        "grey",
        "colour with alpha",
        "colour",
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("images", "npz", "source=arrays"),
        ("pack.wds", "tar", "source=webdataset"),
        ("digits.bin", b"\0\0\x08\x03" + bytes(12), "is an idx file with another name than MNIST's"),
        ("own.data", b"MATLAB 5.0 MAT-file" + bytes(110), "is not named like a file of SVHN"),
        ("more", b"\x1f\x8b", "is a compressed archive"),
        ("notes", b"text", "is not data that domtrans can read"),
    ],
)
def test_a_file_with_another_name_is_known_by_its_content(tmp_path, capsys, name, content, words):
    path = tmp_path / name
    if content == "npz":
        with path.open("wb") as file:
            np.savez(file, images=np.zeros((16, 8, 8), np.uint8))
    elif content == "tar":
        image = photo(tmp_path / "0.png").read_bytes()
        write_tar(path, {f"{i}.png": image for i in range(60)})
    else:
        path.write_bytes(content)
    _, out, error = in_process(capsys, "inspect", path)
    assert words in out + " ".join(error.split())
