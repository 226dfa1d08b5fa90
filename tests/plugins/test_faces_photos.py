"""lfw, celeba and ms-celeb: small synthetic copies of every layout, and the real LFW if it is available."""

import base64
import io
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from domtrans import DomtransError, load_domain, use
from domtrans.testing import check_domain
from domtrans_faces.domains import lfw_labels
from domtrans_faces.domains.lfw_labels import labels_by_photo, photo_key
from domtrans_faces.domains.photo_files import MAX_PHOTO_BYTES, find_photos, in_test_split
from domtrans_faces.vocabulary import VOCABULARY
from paths import ROOT, SHARED
from tiny import registry

REAL_LFW = SHARED / "data" / "lfw" / "lfw_480ids_160px.zip"
PEOPLE = [f"Person {number:02d}" for number in range(20)]
TEST_PEOPLE = {person for person in PEOPLE if in_test_split(person, 0.2)}


def domain(name, path, split="train", size=16, **options):
    return load_domain(registry(), use(name, path=str(path), **options), split, size)


def photo(person, number=0, side=20):
    """An image whose colours encode the person and the number."""
    file = io.BytesIO()
    image = Image.new("RGB", (side, side), (10 * PEOPLE.index(person), 100 * number, 0))
    image.putpixel((0, 0), (255, 255, 255))
    image.save(file, "PNG")
    return file.getvalue()


def write_folder(root, each=2):
    for person in PEOPLE:
        (root / person).mkdir(parents=True)
        for number in range(each):
            (root / person / f"{number:04d}.png").write_bytes(photo(person, number))
    return root


def write_zip(path, members=None, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (members or {f"lfw/{person}/0.png": photo(person) for person in PEOPLE}).items():
            archive.writestr(name, content)
    return path


def write_tsv(path, lines=None):
    rows = [[f"m.{i:02d}", "1", "url", "page", "FaceId-0", "rectangle", photo(person)] for i, person in enumerate(PEOPLE)]
    text = "".join("\t".join([*row[:-1], base64.b64encode(row[-1]).decode()]) + "\n" for row in rows)
    path.write_text(lines if lines is not None else text)
    return path


@pytest.mark.parametrize("name", ["lfw", "ms-celeb", "celeba"])
@pytest.mark.parametrize("write", [write_folder, lambda root: write_zip(root.with_suffix(".zip"))])
def test_one_folder_per_person(tmp_path, name, write):
    path = write(tmp_path / "photos")
    train, test = (domain(name, path, split) for split in ("train", "test"))
    assert train.classes == test.classes == tuple(PEOPLE)
    assert {PEOPLE[label] for label in test.labels} == TEST_PEOPLE
    assert {PEOPLE[label] for label in train.labels} == set(PEOPLE) - TEST_PEOPLE
    assert (train.images[:, 0, 8, 8] == 10 * train.labels).all(), "the label is the person"
    assert f"{len(TEST_PEOPLE)} people" in test.about and "test split" in test.about


def test_the_contracts_of_a_domain_hold(tmp_path):
    check_domain(registry(), "lfw", path=str(write_folder(tmp_path / "photos")))


def test_ms_celeb_reads_its_tsv_files(tmp_path):
    path = write_tsv(tmp_path / "aligned.tsv")
    train, test = (domain("ms-celeb", path, split) for split in ("train", "test"))
    assert len(train) + len(test) == 20 and train.classes == tuple(f"m.{i:02d}" for i in range(20))
    assert not set(train.labels.tolist()) & set(test.labels.tolist())
    assert (train.images[:, 0, 8, 8] == 10 * train.labels).all()
    assert len(domain("ms-celeb", path, count=12).classes) == 12, "only the first lines are read"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "no photographs"),
        ("no columns\n", "line 1 of"),
        ("m.0\t1\turl\t!!!\n" * 3, "cannot be read"),
        ("m.0\t1\t" + base64.b64encode(b"no picture").decode() + "\n", "not an image"),
    ],
)
def test_a_damaged_tsv_is_a_clear_error(tmp_path, lines, words):
    path = write_tsv(tmp_path / "damaged.tsv", lines)
    with pytest.raises(DomtransError, match=words) as caught:
        domain("ms-celeb", path, holdout=0.001)
    assert "\n" not in str(caught.value)


def test_the_split_of_a_person_does_not_depend_on_others(tmp_path):
    members = {f"{person}/0.png": photo(person) for person in PEOPLE}
    some = {name: content for name, content in members.items() if name[7] != "3"}
    few, all_ = (write_zip(tmp_path / f"{name}.zip", which) for name, which in (("few", some), ("all", members)))
    test = [domain("lfw", path, "test") for path in (few, all_)]
    named = [{each.classes[label] for label in each.labels} for each in test]
    assert named[0] == named[1] & set(test[0].classes)


def test_crop_keeps_the_centre(tmp_path):
    image = Image.new("RGB", (100, 60), "black")
    ImageDraw.Draw(image).rectangle((35, 15, 64, 44), fill="white")
    (tmp_path / "photos" / "a").mkdir(parents=True)
    image.save(tmp_path / "photos" / "a" / "0.png")
    whole, half = (domain("lfw", tmp_path / "photos", split_of("a"), crop=crop, holdout=0.5).images for crop in (1.0, 0.5))
    assert (half[:, :, 1:-1, 1:-1] == 255).all() and half.min() > 190 and 0.2 < (whole > 127).float().mean() < 0.3


def split_of(person, holdout=0.5):
    return "test" if in_test_split(person, holdout) else "train"


def test_count_is_spread_over_all_people(tmp_path):
    path = write_folder(tmp_path / "photos")
    found = [domain("lfw", path, split, count=20) for split in ("train", "test")]
    assert sum(map(len, found)) == 20 and found[0].classes == tuple(PEOPLE)


@pytest.mark.parametrize("name", ["lfw", "ms-celeb", "celeba"])
def test_missing_data_is_a_clear_error(tmp_path, name, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path))
    with pytest.raises(DomtransError, match=f"the data set {name} is not at .*datasets/{name}: put .* use 'portraits'"):
        load_domain(registry(), use(name), "train", 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DomtransError, match="there are no photographs in"):
        domain(name, tmp_path / "empty")


def test_an_empty_split_is_a_clear_error(tmp_path):
    path = write_zip(tmp_path / "one.zip", {"Person 00/0.png": photo("Person 00")})
    other = "train" if split_of("Person 00", 0.2) == "test" else "test"
    with pytest.raises(DomtransError, match=f"the {other} split has none of the 1 people"):
        domain("lfw", path, other)


def test_a_zip_and_a_folder_hold_the_same_formats(tmp_path):
    for ending, form in (("webp", "WEBP"), ("bmp", "BMP"), ("JPG", "JPEG")):
        (tmp_path / "photos" / "A").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "photos" / "A" / f"1.{ending}", form)
    (tmp_path / "photos" / "A" / "notes.txt").write_text("none")
    members = {f"A/{file.name}": file.read_bytes() for file in (tmp_path / "photos" / "A").iterdir()}
    places = (tmp_path / "photos", write_zip(tmp_path / "photos.zip", members))
    assert [len(find_photos(path, None)) for path in places] == [3, 3]


def test_names_in_a_zip_cannot_escape(tmp_path):
    """Nothing is extracted: a path that leaves the folder is only the name of a person."""
    members = {f"../../{person}/0.png": photo(person) for person in PEOPLE}
    members |= {"/etc/Person 00/1.png": photo("Person 00"), "__MACOSX/Person 00/._0.png": b"junk", ".hidden/a.png": b"junk"}
    members |= {"readme.txt": b"words", "alone.png": photo("Person 00"), "Person 01/": b""}
    before = sorted(tmp_path.parent.rglob("*"))
    found = [domain("lfw", write_zip(tmp_path / "tricks.zip", members), split) for split in ("train", "test")]
    assert sum(map(len, found)) == 21 and found[0].classes == tuple(PEOPLE)
    assert sorted(tmp_path.parent.rglob("*")) == sorted([*before, tmp_path / "tricks.zip"])


def damaged(kind):
    """A malicious or truncated zip."""
    file = io.BytesIO()
    bomb = b"\x89PNG\r\n\x1a\n" + bytes(MAX_PHOTO_BYTES + 10)
    broken = {"bomb": bomb, "no picture": b"words", "cut picture": noise()[:400], "huge": huge_png()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Person 00/0.png", broken.get(kind, photo("Person 00")))
    content = file.getvalue()
    if kind == "cut":
        return content[:40]
    if kind == "flipped":
        return content[:60] + bytes([content[60] ^ 255]) + content[61:]
    if kind == "encrypted":
        raw = bytearray(content)
        for at in (raw.index(b"PK\x03\x04") + 6, raw.index(b"PK\x01\x02") + 8):
            raw[at] |= 1
        return bytes(raw)
    return b"" if kind == "empty" else content


def noise():
    """An image that does not compress."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def huge_png():
    """An image file of a few bytes that claims 60,000 x 60,000 pixels."""
    whole = bytearray(photo("Person 00"))
    whole[16:24] = struct.pack(">II", 60_000, 60_000)
    return bytes(whole)


@pytest.mark.parametrize("kind", ["bomb", "no picture", "cut picture", "huge", "cut", "flipped", "encrypted", "empty"])
def test_an_unreadable_zip_is_a_clear_error(tmp_path, kind):
    path = tmp_path / "damaged.zip"
    path.write_bytes(damaged(kind))
    with pytest.raises(DomtransError) as caught:
        domain("lfw", path, split_of("Person 00", 0.2))
    assert "\n" not in str(caught.value) and ("damaged.zip" in str(caught.value) or "Person 00/0.png" in str(caught.value))


def write_celeba(root, count=12):
    """CelebA in torchvision's layout: people 1, 2, 3 in the parts 0, 1, 2."""
    (root / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    for number, name in enumerate(names):
        Image.new("RGB", (178, 218), (20 * number, 0, 0)).save(root / "img_align_celeba" / name)
    parts = [number * 3 // count for number in range(count)]
    (root / "list_eval_partition.txt").write_text("".join(f"{name} {part}\n" for name, part in zip(names, parts, strict=True)))
    (root / "identity_CelebA.txt").write_text("".join(f"{name} {10 + part}\n" for name, part in zip(names, parts, strict=True)))
    words = "Bald Black_Hair Blond_Hair Brown_Hair Eyeglasses Gray_Hair Mouth_Slightly_Open Mustache No_Beard Pale_Skin Smiling"
    header = f"{words} Straight_Hair Wavy_Hair".split()
    said = [{"Black_Hair", "Smiling", "No_Beard"}, {"Bald", "Eyeglasses"}, {"Blond_Hair", "Gray_Hair", "Mustache", "No_Beard"}]
    said += [{"Wavy_Hair", "Brown_Hair", "Mouth_Slightly_Open", "No_Beard", "Pale_Skin"}]
    rows = [" ".join("1" if word in said[i % 4] else "-1" for word in header) for i in range(count)]
    text = "".join(f"{name}  {row}\n" for name, row in zip(names, rows, strict=True))
    (root / "list_attr_celeba.txt").write_text(f"{count}\n{' '.join(header)}\n{text}")
    return root


def test_celeba_reads_its_original_files(tmp_path):
    path = write_celeba(tmp_path / "celeba")
    train, test = (domain("celeba", path, split) for split in ("train", "test"))
    assert len(train) == len(test) == 4 and train.classes == ("10", "11", "12")
    assert train.labels.tolist() == [0] * 4 and test.labels.tolist() == [2] * 4, "its own splits, which share no person"
    assert train.images[:, 0, 8, 8].tolist() == pytest.approx([0, 20, 40, 60], abs=2)

    def values(name):
        of = train.attributes[name]
        return [of.values[i] if i >= 0 else None for i in of.index]

    assert values("hair_colour") == ["black", None, None, "brown"]
    assert values("glasses") == ["no", "yes", "no", "no"]
    assert values("facial_hair") == ["no", "yes", "yes", "no"]
    assert values("hair_length") == [None, "none", None, None]
    assert values("hair_style") == [None, None, None, "curly"]
    assert values("mouth") == ["smile", "neutral", "neutral", "open"]
    assert values("skin") == [None, None, None, "light"]
    assert len(domain("celeba", path, "test", count=6)) == 2


def test_celeba_works_without_identities_and_attributes(tmp_path):
    path = write_celeba(tmp_path / "celeba")
    (path / "identity_CelebA.txt").unlink()
    (path / "list_attr_celeba.txt").unlink()
    found = domain("celeba", path)
    assert found.labels is None and found.classes == () and not found.attributes


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list_eval_partition.txt", "000001.jpg\n", "is not a CelebA list|cannot be read"),
        ("list_eval_partition.txt", "", "is not a CelebA list"),
        ("list_eval_partition.txt", "000001.jpg zero\n", "cannot be read as a CelebA list"),
        ("list_eval_partition.txt", "000001.jpg 2\n", "has no photographs in the train split"),
        ("identity_CelebA.txt", "000099.jpg 3\n", "has no line for 000001.jpg"),
        ("list_attr_celeba.txt", "1\nSmiling\n000001.jpg 1 1\n", "is not a CelebA list"),
        ("img_align_celeba/000001.jpg", "words", "000001.jpg is not an image"),
        ("img_align_celeba/000001.jpg", None, "000001.jpg cannot be read"),
    ],
)
def test_a_damaged_celeba_is_a_clear_error(tmp_path, name, content, words):
    path = write_celeba(tmp_path / "celeba")
    (path / name).unlink()
    if content is not None:
        (path / name).write_text(content)
    with pytest.raises(DomtransError, match=words):
        domain("celeba", path)


def test_a_failed_download_is_a_clear_error(tmp_path):
    with pytest.raises(DomtransError, match=r"celeba could not be downloaded to .*; offline, use 'portraits'"):
        (tmp_path / "celeba").write_text("a file where the folder would be")
        domain("celeba", tmp_path / "celeba", download=True)
    with pytest.raises(DomtransError, match="into a folder named celeba"):
        domain("celeba", tmp_path / "faces", download=True)


# Labels of LFW


def test_labelled_photographs_have_attributes(tmp_path, monkeypatch):
    row = {
        "skin": "light",
        "facial_hair": "no",
        "glasses": "no",
        "hair_length": "short",
        "hair_colour": "blond",
        "mouth": "open",
    }
    monkeypatch.setitem(labels_by_photo(), photo_key("Anybody_0001.jpg"), row)
    for name in ("Anybody/Anybody_0001", "Nobody/Nobody_0001"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.png").write_bytes(photo(PEOPLE[0]))
    found = domain("lfw", tmp_path, "train", holdout=1e-9).attributes
    assert set(found) == {"skin", "facial_hair", "glasses", "hair_length", "hair_colour", "mouth"}
    assert found["hair_colour"].index.tolist() == [VOCABULARY["hair_colour"].index("blond"), -1]


def test_unlabelled_photographs_have_no_attributes(tmp_path):
    assert domain("lfw", write_folder(tmp_path / "photos")).attributes == {}


def test_every_label_is_in_the_vocabulary():
    rows = labels_by_photo()
    assert len(rows) == 2870 and all(len(row) == 6 for row in rows.values())
    for name in next(iter(rows.values())):
        values = [row[name] for row in rows.values() if row[name]]
        assert set(values) <= set(VOCABULARY[name]) and len(values) > 0.9 * len(rows)
    assert 0.1 < sum(row["glasses"] == "yes" for row in rows.values()) / len(rows) < 0.3


def test_no_table_of_labels_names_a_person():
    tables = [Path(lfw_labels.__file__).with_suffix(".csv"), ROOT / "benchmarks" / "looks_twice.csv"]
    for table in tables:
        keys = [line.partition(",")[0] for line in table.read_text(encoding="ascii").splitlines()[1:]]
        assert all(re.fullmatch("[0-9a-f]{16}", key) for key in keys), "a hash of the file name"


@pytest.mark.skipif(not REAL_LFW.is_file(), reason=f"the real LFW is not at {REAL_LFW}")
def test_the_real_lfw():
    train, test = (domain("lfw", REAL_LFW, split, size=32, count=600) for split in ("train", "test"))
    assert len(train) + len(test) == 600 and train.classes == test.classes and len(train.classes) > 400
    assert not set(train.labels.tolist()) & set(test.labels.tolist())
    assert 60 < train.images.float().mean() < 180 and torch.unique(train.images[:, :, 16, 16], dim=0).shape[0] > 300
