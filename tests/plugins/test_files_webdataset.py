"""The domain ``webdataset``: what it reads from tar shards, and what it refuses in one sentence."""

import gzip
import io
import json
import os
import shutil
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from commands import in_process
from domtrans import DomtransError, use
from domtrans.data.domains import load_domain
from tiny import bars, registry
from tiny_shards import encoded, write_shards, write_tar

IMAGES, LABELS = bars(8)
PNG = encoded(IMAGES[0])


def load(path, split="train", size=32, **options):
    return load_domain(registry(), use("webdataset", path=str(path), **({"holdout": 0.0} | options)), split, size)


def labelled(*classes, **more):
    """Members of a shard: images with these classes, and any others."""
    pairs = {f"{i}.png": PNG for i in range(len(classes))} | {f"{i}.cls": str(name).encode() for i, name in enumerate(classes)}
    return pairs | {name.replace("_", "."): content for name, content in more.items()}


# What it reads


def test_images_are_read_with_their_classes_and_attributes(tmp_path):
    found = load(write_shards(tmp_path / "shards", IMAGES, LABELS, shard=3))
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), IMAGES)
    assert found.labels.tolist() == LABELS.tolist() and found.classes == ("0", "1", "2", "3")
    assert found.attributes["parity"].values == ("even", "odd")
    assert found.attributes["parity"].index.tolist() == [0, 1] * 4


@pytest.mark.parametrize(("form", "ending"), [("JPEG", "jpg"), ("JPEG", "jpeg"), ("WEBP", "webp"), ("PNG", "PNG")])
def test_other_formats_sizes_and_grey_are_read(tmp_path, form, ending):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 255
    write_tar(tmp_path / "a.tar", {f"0.{ending}": encoded(wide, form)})
    found = load(tmp_path, size=16, grey=True)
    assert found.shape == (1, 1, 16, 16) and found.images.min() > 200, "the centre square is white"


def test_folders_in_a_shard_are_no_classes_and_a_note_says_so(tmp_path):
    write_tar(tmp_path / "A.TAR", {f"{name}/{i}.png": PNG for name in ("cat", "dog") for i in range(2)})
    found = load(tmp_path)
    assert len(found) == 4 and found.labels is None
    assert found.notes == (
        "the images have no classes; the folders in the shards (cat, dog) are not read as classes, which need .cls members",
    )


def test_a_negative_class_is_refused(tmp_path):
    write_tar(tmp_path / "a.tar", labelled(0, -1))
    with pytest.raises(DomtransError, match=r"a.tar: 1.cls has the class -1; give it another name, or none"):
        load(tmp_path)


def test_keys_with_folders_and_other_members(tmp_path):
    members = {
        "a/0.png": PNG,
        "b/0.png": PNG,
        "b/0.txt": b"a caption",
        "b/0.mask.png": b"no image",
        "._0.png": b"",
        "README": b"",
    }
    write_tar(tmp_path / "a.tar", members | {"a/0.cls": b"1\n", "b/0.json": b'{"class": 0, "width": 32, "attributes": null}'})
    found = load(tmp_path)
    assert found.labels.tolist() == [1, 0] and found.attributes == {}


def test_numeric_classes_are_in_numeric_order(tmp_path):
    write_tar(tmp_path / "a.tar", labelled(10, 9, 2))
    assert load(tmp_path).classes == ("2", "9", "10")
    write_tar(tmp_path / "a.tar", labelled("dog", "cat", "10"))
    assert load(tmp_path).classes == ("10", "cat", "dog")


def test_a_class_name_in_json_wins_over_a_number_in_cls(tmp_path):
    named = {"0.json": b'{"class": "cat"}', "1.json": b'{"class": "dog"}'}
    for members in (labelled(1, 0) | named, named | labelled(1, 0)):
        write_tar(tmp_path / "a.tar", members)
        assert load(tmp_path).classes == ("cat", "dog")


def test_a_vocabulary_sets_the_values_and_their_order(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.png": PNG, "0.json": b'{"attributes": {"hair": "red", "wings": null}}', "1.png": PNG})
    (tmp_path / "vocabulary.json").write_text(json.dumps({"hair": ["brown", "red"], "glasses": ["no", "yes"]}))
    found = load(tmp_path)
    assert found.labels is None and found.classes == ()
    hair, glasses = found.attributes["hair"], found.attributes["glasses"]
    assert (hair.values, hair.index.tolist()) == (("brown", "red"), [1, -1])
    assert (glasses.values, glasses.index.tolist()) == (("no", "yes"), [-1, -1])


def test_shards_are_given_by_braces_or_folder_with_a_test_split(tmp_path):
    for number in range(4):
        write_tar(tmp_path / f"s-{number:03d}.tar", {f"{number}.png": PNG, f"{number}.cls": str(number).encode()})
    assert load(tmp_path).labels.tolist() == [0, 1, 2, 3]
    assert load(tmp_path / "s-{001..002}.tar").classes == ("1", "2")
    assert load(tmp_path / "s-00{0,3}.tar").classes == ("0", "3")
    ends = {"test_path": str(tmp_path / "s-003.tar")}
    train, test = (load(tmp_path / "s-{000..002}.tar", split, **ends) for split in ("train", "test"))
    assert train.labels.tolist() == [0, 1, 2] and test.labels.tolist() == [3] and train.classes == test.classes


def test_the_last_images_are_the_test_split(tmp_path):
    path = write_shards(tmp_path / "shards", *bars(40), shard=16)
    train, test = (load(path, split, holdout=0.1) for split in ("train", "test"))
    assert len(train) == 36 and len(test) == 4
    assert np.array_equal(torch.cat([train.images, test.images]).permute(0, 2, 3, 1).numpy(), bars(40)[0])


def test_a_shard_is_scanned_again_only_after_a_change(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", labelled("cat"))
    load(path)
    scanned = []
    scan = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *args, **options: scanned.append(1) or scan(*args, **options))
    assert load(path).classes == ("cat",) and not scanned
    write_tar(path, labelled("dog", "dog"))
    os.utime(path, (1e9, 1e9))
    scanned.clear()
    assert load(path).classes == ("dog",) and scanned


def test_the_fingerprint_does_not_depend_on_the_location(tmp_path):
    path = write_shards(tmp_path / "shards", IMAGES, LABELS, shard=3)
    shutil.copytree(path, tmp_path / "copy")
    one = load(path, memory="no")
    assert one.fingerprint() == load(tmp_path / "copy", memory="no").fingerprint() == load(path, memory="no").fingerprint()
    write_shards(tmp_path / "other", IMAGES[::-1], LABELS, shard=3)
    others = [
        load(tmp_path / "other", memory="no"),
        load(path, memory="no", grey=True),
        one.take(torch.arange(4)),
        one.unlabelled(),
    ]
    assert len({one.fingerprint(), *(other.fingerprint() for other in others)}) == 5


# Path traversal: nothing is extracted, nothing outside a shard is read


def test_member_names_are_only_keys_and_links_are_skipped(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "red").save(secret)
    with tarfile.open(inside / "a.tar", "w") as tar:
        for name in ("../../up.png", "/abs.png", f"{inside}/here.png", "a\nb.png", "x" * 300 + ".png"):
            member = tarfile.TarInfo(name)
            member.size = len(PNG)
            tar.addfile(member, io.BytesIO(PNG))
        kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
        for kind, name in zip(kinds, ("link", "hard", "device", "pipe", "folder"), strict=True):
            member = tarfile.TarInfo(f"{name}.png")
            member.type, member.linkname = kind, str(secret)
            tar.addfile(member)
    found = load(inside)
    assert len(found) == 5 and all(np.array_equal(image.permute(1, 2, 0).numpy(), IMAGES[0]) for image in found.images)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "inside", "secret.png"]


# What it refuses


def header(size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A member's header with the given size field and a valid checksum."""
    block = bytearray(tarfile.TarInfo("0.png").tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157] = size, kind
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read as an uncompressed tar file"),
        (lambda path: path.write_bytes(b"no tar file at all" * 100), "cannot be read as an uncompressed tar file"),
        (lambda path: path.write_bytes(gzip.compress(bytes(10240))), "cannot be read as an uncompressed tar file"),
        (lambda path: write_tar(path, {}), "there are no images"),
        (lambda path: write_tar(path, {"a.txt": b"", "b.json": b"{}"}), "there are no images"),
        (lambda path: path.write_bytes(header(b"77777777777\0")), "cut short"),
        (lambda path: path.write_bytes(header(b"77777777777\0", tarfile.XHDTYPE)), "a header of"),
        (lambda path: path.write_bytes(header(b"\xff" * 11 + b"\0")), "cut short"),
        (lambda path: path.write_bytes(header(b"\xff" * 11 + b"\0", tarfile.GNUTYPE_LONGNAME)), "cut short"),
        (lambda path: write_tar(path, [("0.png", PNG), ("0.jpg", PNG)]), "two images with the key 0"),
        (lambda path: write_tar(path, labelled("cat", 1, x_png=PNG)), "1 of the 3 images .* have no class"),
        (lambda path: write_tar(path, labelled(x_png=PNG, x_json=b"{not json")), "x.json must be of the form"),
        (lambda path: write_tar(path, labelled(x_png=PNG, x_json=b"[1]")), "x.json must be of the form"),
        (lambda path: write_tar(path, labelled(x_png=PNG, x_json=b'{"class": [1]}')), "x.json must be of the form"),
        (lambda path: write_tar(path, labelled(x_png=PNG, x_json=b'{"attributes": "red"}')), "x.json must be of the form"),
        (lambda path: write_tar(path, labelled(x_png=PNG, x_json=b"[" * 100_000)), "x.json must be of the form"),
        (lambda path: write_tar(path, labelled(x_png=PNG, x_cls=b"\xff\xfe")), "x.cls must be of the form"),
        (lambda path: write_tar(path, labelled(x_png=PNG, x_json=b" " * 2**21)), "too many for labels"),
    ],
)
def test_an_invalid_shard_is_refused_in_a_sentence(tmp_path, write, message):
    write(tmp_path / "bad.tar")
    with pytest.raises(DomtransError, match=message) as refusal:
        load(tmp_path / "bad.tar")
    assert "bad.tar" in str(refusal.value)


def test_a_truncated_or_damaged_shard_is_not_read_as_a_smaller_one(tmp_path):
    whole = write_tar(tmp_path / "a.tar", labelled(*range(6))).read_bytes()
    second = whole.index(b"1.png")
    for number, content in enumerate(
        (whole[: second + 600], whole[: second + 100], whole[:second] + b"9" + whole[second + 1 :])
    ):
        (tmp_path / f"bad{number}.tar").write_bytes(content)
        with pytest.raises(DomtransError, match="cut short"):
            load(tmp_path / f"bad{number}.tar")


def test_shards_that_were_joined_are_read_to_the_end(tmp_path):
    parts = [
        write_tar(tmp_path / f"{name}.tar", {f"{name}{i}.png": encoded(IMAGES[i]) for i in range(6)}).read_bytes()
        for name in "ab"
    ]
    (tmp_path / "c.tar").write_bytes(b"".join(parts) + bytes(512 * 50))
    found = load(tmp_path / "c.tar")
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), np.concatenate([IMAGES[:6]] * 2))


@pytest.mark.parametrize("rest", [b"no tar file", b"x" * 512, b"\0" * 100 + b"x" * 1000])
def test_other_content_after_a_shard_is_refused(tmp_path, rest):
    write_tar(tmp_path / "a.tar", labelled(0, 1))
    with (tmp_path / "a.tar").open("ab") as file:
        file.write(rest)
    with pytest.raises(DomtransError, match=r"a\.tar cannot be read as an uncompressed tar file"):
        load(tmp_path / "a.tar")


def test_an_empty_label_is_none_as_an_empty_cell_is(tmp_path):
    write_tar(tmp_path / "a.tar", labelled("cat", ""))
    with pytest.raises(DomtransError, match=r"1 of the 2 images of .* have no class"):
        load(tmp_path / "a.tar")
    write_tar(tmp_path / "b.tar", labelled("", " \n", x_png=PNG, x_json=b'{"class": "", "attributes": {"hair": ""}}'))
    found = load(tmp_path / "b.tar")
    assert len(found) == 3 and found.labels is None and not found.attributes


def test_a_value_outside_the_vocabulary_is_refused(tmp_path):
    write_tar(tmp_path / "a.tar", labelled("cat", "bird"))
    (tmp_path / "vocabulary.json").write_text('{"class": ["cat", "dog"]}')
    with pytest.raises(
        DomtransError, match=r"a\.tar has the class 'bird', which vocabulary.json does not list; it lists cat, dog"
    ):
        load(tmp_path)
    for content in ("{", "[]", '{"class": "cat"}', '{"class": [1]}', "[" * 100_000):
        (tmp_path / "vocabulary.json").write_text(content)
        with pytest.raises(DomtransError, match=r"vocabulary\.json (cannot be read|must be of the form)"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("nowhere-{0..3}.tar", "there is no file nowhere-0.tar"),
        ("a-{0..3.tar", "cannot be expanded"),
        ("a-{1..999999999}.tar", "more than 100,000 shards"),
        ("memory://nowhere/{0..1}.tar", "there is no file or folder memory://nowhere/0.tar"),
        (".", "there are no .tar files"),
    ],
)
def test_missing_shards_are_named(tmp_path, monkeypatch, pattern, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DomtransError, match=message):
        load(pattern)


def test_a_split_without_images_is_refused(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.png": PNG})
    write_tar(tmp_path / "empty.tar", {})
    with pytest.raises(DomtransError, match="leaves no images for the test split"):
        load(tmp_path / "a.tar", "test")
    with pytest.raises(DomtransError, match="no images for the test split"):
        load(tmp_path / "a.tar", "test", test_path=str(tmp_path / "empty.tar"))
    assert len(load(tmp_path)) == 1, "an empty shard among others does no harm"


def test_the_command_prints_one_line_and_exits_with_2(capsys, tmp_path):
    code, _, stderr = in_process(
        capsys, "train", "digits-dtn", "source=webdataset", f"source.path={tmp_path}", "--out", tmp_path / "o"
    )
    assert code == 2 and "there are no .tar files" in stderr and "Traceback" not in stderr


# Nothing is dropped in silence


def test_names_with_dots_are_read_with_their_labels(tmp_path):
    members = {"0.png": PNG, "0.cls": b"a", "1.left.png": PNG, "1.left.cls": b"b", "2.left.png": PNG, "2.right.png": PNG}
    write_tar(tmp_path / "a.tar", members | {"2.cls": b"c", "d.1/3.v2.png": PNG, "d.1/3.v2.json": b'{"class": "d"}'})
    found = load(tmp_path)
    assert [found.classes[label] for label in found.labels.tolist()] == ["a", "b", "c", "c", "d"] and found.notes == ()


@pytest.mark.parametrize(
    ("suffix", "form"),
    [("bmp", "BMP"), ("jfif", "JPEG"), ("jpe", "JPEG"), ("tif", "TIFF"), ("avif", "AVIF"), ("jp2", "JPEG2000"), ("gif", "GIF")],
)
def test_every_image_format_is_read_from_shards(tmp_path, suffix, form):
    write_tar(tmp_path / "a.tar", {f"0.{suffix}": encoded(IMAGES[0], form), "0.cls": b"x", "1.png": PNG, "1.cls": b"y"})
    found = load(tmp_path)
    assert len(found.images) == 2 and found.classes == ("x", "y")


def test_members_that_are_not_read_are_counted_and_named(tmp_path):
    members = {
        "0.png": PNG,
        "0.mask.png": PNG,
        "0.txt": b"a caption",
        "1.psd": b"8BPS",
        "2.cls": b"1",
        "README": b"",
        "._0.png": b"",
    }
    write_tar(tmp_path / "a.tar", members)
    found = load(tmp_path)
    (note,) = found.notes
    assert len(found) == 1 and note.startswith("5 members of the shards were skipped: ")
    for reason in (
        "1 further image of a sample (.mask.png) such as 0.mask.png",
        "1 not an image (.txt) such as 0.txt",
        "1 not an image (.psd) such as 1.psd",
        "1 labels without an image such as 2",
        "1 not an image (no suffix) such as README",
    ):
        assert reason in note


def test_a_label_in_json_may_be_called_label(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.png": PNG, "0.json": b'{"label": 3}'})
    assert load(tmp_path).classes == ("3",)


def test_shards_sorted_by_class_are_split_by_class(tmp_path):
    write_tar(tmp_path / "a.tar", labelled(*[0] * 8, *[1] * 8, *[10] * 8, *[2] * 2))
    train, test = (load(tmp_path, split, holdout=0.125) for split in ("train", "test"))
    assert train.classes == test.classes == ("0", "1", "2", "10")
    assert train.labels.bincount().tolist() == [7, 7, 2, 7] and test.labels.bincount(minlength=4).tolist() == [1, 1, 0, 1]
    assert train.notes == ("class 2 is too small to split with holdout=0.125 and stays in training",)


@pytest.mark.parametrize("names", ["{}-000.tar", "pets_{}_0.tar", "{}/0.tar"])
@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
def test_shards_named_after_splits_are_the_splits(tmp_path, names, test_name):
    for split, classes in (("train", "ab"), (test_name, "bc")):
        path = tmp_path / names.format(split)
        path.parent.mkdir(exist_ok=True)
        write_tar(path, labelled(*classes))
    train, test = (load(tmp_path, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("a", "b", "c")
    assert train.labels.tolist() == [0, 1] and test.labels.tolist() == [1, 2]
    assert train.notes == ("class a has no test images", "class c has no training images")


def test_shards_of_splits_beside_others_are_refused(tmp_path):
    for name in ("train-0", "test-0", "more-0"):
        write_tar(tmp_path / f"{name}.tar", labelled("a"))
    with pytest.raises(DomtransError, match=r"shards of splits and others \(more-0\.tar\)"):
        load(tmp_path)


def test_compressed_shards_in_a_folder_are_named(tmp_path):
    write_tar(tmp_path / "a.tar", labelled("a"))
    (tmp_path / "b.tar.gz").write_bytes(b"")
    assert load(tmp_path).notes == ("compressed shards that are not read, unpack them: b.tar.gz",)


KEYS = st.sampled_from(["0", "1", "0.left", "0.right", "1.a.b", "d/0", "d.e/1", ".hidden", "__MACOSX/0"])
SUFFIXES = st.sampled_from(["png", "PNG", "bmp", "cls", "json", "txt", "psd"])
FORMS = {"png": "PNG", "bmp": "BMP"}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(st.tuples(KEYS, SUFFIXES), unique_by=lambda pair: (pair[0], pair[1].lower()), min_size=1, max_size=10))
def test_every_member_is_read_or_counted(tmp_path_factory, members):
    folder = tmp_path_factory.mktemp("any")
    content = {"cls": b"a", "json": b'{"class": "b"}'}
    pairs = [
        (f"{key}.{suffix}", encoded(IMAGES[0], FORMS[suffix.lower()]) if suffix.lower() in FORMS else content.get(suffix, b""))
        for key, suffix in members
    ]
    write_tar(folder / "a.tar", pairs)
    visible = [(key, suffix.lower()) for key, suffix in members if not key.startswith((".", "__MACOSX"))]
    images = [key for key, suffix in visible if suffix in FORMS]
    try:
        found = load(folder)
    except DomtransError as refusal:
        reasons = ("there are no images", "two images with the key", "have no class")
        assert any(reason in str(refusal) for reason in reasons)
        assert images or "there are no images" in str(refusal)
        return
    counts = [int(note.split()[0]) for note in found.notes if "were skipped" in note]
    skipped = counts[0] if counts else 0
    used = {(key, suffix) for key, suffix in visible if suffix in ("cls", "json")}
    others = [key for key, suffix in visible if suffix in ("txt", "psd")]
    further = len(images) - len(found)
    assert 0 <= further <= skipped - len(others) <= further + len(used)
    if found.labels is not None:
        assert set(found.classes) <= {"a", "b"}
