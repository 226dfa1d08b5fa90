"""The domain ``folder``: the layouts that people have, the classes and splits they give, and what is skipped."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from domtrans import DomtransError, use
from domtrans.data.domains import load_domain
from domtrans_files.folder_reading import read_folder
from tiny import registry


def put(root, *places):
    """Image files whose red value is their number."""
    for number, place in enumerate(places):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number % 256, number // 256, 0)).save(path, "PNG")


def several(*folders, count=8):
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]


def load(root, split="train", **options):
    return load_domain(registry(), use("folder", path=str(root), **options), split, 4)


def contents(images):
    """The number of every image, by class name; None without classes."""
    numbers = [int(image[0, 0, 0]) + 256 * int(image[1, 0, 0]) for image in images.images]
    if images.labels is None:
        return {None: sorted(numbers)}
    found = {}
    for number, label in zip(numbers, images.labels.tolist(), strict=True):
        found.setdefault(images.classes[label], []).append(number)
    return {name: sorted(members) for name, members in found.items()}


def counts(root, **options):
    """Images by class name in both splits."""
    return [
        Counter({name: len(members) for name, members in contents(load(root, split, **options)).items()}) for split in SPLITS
    ]


SPLITS = ("train", "test")


# Splits


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "TEST"),
        ("training", "testing"),
        ("train", "val"),
        ("train", "valid"),
        ("Training", "Validation"),
        ("trainA", "testA"),
        ("train_a", "val_a"),
        ("train_images", "test_images"),
        ("seg_train", "seg_test"),
        ("trainset", "valset"),
        ("train2017", "val2017"),
        ("train/train", "test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
    ],
)
@pytest.mark.parametrize("inside", ["", "data/", "data/set/"])
def test_folders_of_splits_are_recognised(tmp_path, train, test, inside):
    put(
        tmp_path,
        *several(f"{inside}{train}/cat", f"{inside}{train}/dog", f"{inside}{test}/cat", f"{inside}{test}/dog", count=3),
    )
    assert counts(tmp_path) == [{"cat": 3, "dog": 3}, {"cat": 3, "dog": 3}]
    assert load(tmp_path).notes == ()


def test_splits_may_have_no_classes(tmp_path):
    put(tmp_path, *several("train", "test", count=2))
    assert counts(tmp_path) == [{None: 2}, {None: 2}]


def test_validation_images_beside_a_test_split_are_counted(tmp_path):
    put(tmp_path, *several("train/a", "train/b", "val/a", "val/b", "test/a", "test/b", count=2))
    assert counts(tmp_path) == [{"a": 2, "b": 2}] * 2
    assert load(tmp_path).notes == ("4 files were skipped: 4 in val, as there is also test",)


def test_a_folder_around_the_classes_of_each_split(tmp_path):
    put(tmp_path, *several("train/images/a", "train/images/b", "test/images/a", count=2))
    assert load(tmp_path).classes == load(tmp_path, "test").classes == ("a", "b")


def test_two_domains_in_one_folder(tmp_path):
    put(tmp_path, *several("trainA", "trainB", "testA", "testB", count=2))
    assert [contents(load(tmp_path, split, part=part))[None] for part in "AB" for split in SPLITS] == [
        [0, 1],
        [4, 5],
        [2, 3],
        [6, 7],
    ]
    with pytest.raises(DomtransError, match=r"holds two domains \(testA, testB, trainA, trainB\): set part=A"):
        load(tmp_path)


def test_two_domains_with_their_own_splits(tmp_path):
    put(tmp_path, *several("A/train", "A/test", "B/train", "B/test", count=2))
    assert contents(load(tmp_path, "test", part="B")) == {None: [6, 7]}
    with pytest.raises(DomtransError, match="has its own splits"):
        load(tmp_path)
    assert counts(tmp_path, layout="splits") == [{"A": 2, "B": 2}] * 2


def test_part_needs_two_domains(tmp_path):
    put(tmp_path, *several("a", "b"))
    with pytest.raises(DomtransError, match="part=A chooses between two domains"):
        load(tmp_path, part="A")


def test_an_empty_test_folder_is_no_class(tmp_path):
    put(tmp_path, *several("train/a", "train/b"))
    (tmp_path / "test").mkdir()
    assert contents(load(tmp_path)).keys() == {"a", "b"}
    with pytest.raises(DomtransError, match="no images for the test split"):
        load(tmp_path, "test")


# Classes


def test_classes_are_those_of_all_splits_in_natural_order(tmp_path):
    put(tmp_path, *several("train/1", "train/2", "train/10", "test/10", "test/1", "test/3", count=2))
    train, test = (load(tmp_path, split) for split in SPLITS)
    assert train.classes == test.classes == ("1", "2", "3", "10")
    assert contents(train) == {"1": [0, 1], "2": [2, 3], "10": [4, 5]}
    assert contents(test) == {"10": [6, 7], "1": [8, 9], "3": [10, 11]}
    assert train.notes == test.notes == ("class 2 has no test images", "class 3 has no training images")


def test_files_are_in_natural_order_and_the_last_are_held_out(tmp_path):
    put(tmp_path, *(f"{name}/{number}.png" for name in "ab" for number in (10, 9, 1, 2)))
    assert contents(load(tmp_path, "test", holdout=0.25)) == {"a": [0], "b": [4]}


def test_a_class_that_is_too_small_to_split_stays_in_training(tmp_path):
    put(tmp_path, *several("a", "b"), *several("rare", count=4))
    assert counts(tmp_path) == [{"a": 7, "b": 7, "rare": 4}, {"a": 1, "b": 1}]
    assert load(tmp_path, "test").notes == ("class rare is too small to split with holdout=0.125 and stays in training",)


def test_an_empty_class_folder_is_a_class(tmp_path):
    put(tmp_path, *several("a", "c"))
    (tmp_path / "b").mkdir()
    assert load(tmp_path).classes == ("a", "b", "c") and load(tmp_path).notes == ("class b has no images",)


def test_a_folder_with_other_files_is_no_class(tmp_path):
    put(tmp_path, *several("JPEGImages"))
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "0.xml").write_text("<a/>")
    assert load(tmp_path).labels is None


def test_a_single_folder_has_no_classes_unless_chosen(tmp_path):
    put(tmp_path, *several("photos"))
    assert load(tmp_path).labels is None
    assert "all images are in one folder, 'photos'" in load(tmp_path).notes[0]
    assert load(tmp_path, layout="classes").classes == ("photos",)


def test_a_folder_named_train_may_be_a_class(tmp_path):
    put(tmp_path, *several("bus", "car", "train"))
    assert load(tmp_path).classes == ("bus", "car", "train")


def test_deeper_folders_belong_to_their_class(tmp_path):
    put(tmp_path, *several("a/x", "a/y", "b", count=4))
    assert counts(tmp_path, holdout=0.25) == [{"a": 6, "b": 3}, {"a": 2, "b": 1}]


def test_classes_txt_sets_the_order(tmp_path):
    put(tmp_path, *several("a", "b"))
    (tmp_path / "classes.txt").write_text("b\nnone\na\n")
    assert load(tmp_path).classes == ("b", "none", "a")
    (tmp_path / "classes.txt").write_text("1 b\n2 a\n")
    assert load(tmp_path).classes == ("b", "a")
    (tmp_path / "classes.txt").write_text("b\nc\n")
    assert load(tmp_path).classes == ("a", "b")
    assert "classes.txt is not used, because it does not name the folders a" in load(tmp_path).notes


# What is skipped


def test_a_stray_image_is_named_and_no_class(tmp_path):
    put(tmp_path, *several("a", "b"), "preview.png")
    assert load(tmp_path).classes == ("a", "b")
    assert load(tmp_path).notes == (
        "1 file was skipped: 1 beside the class folders",
        "1 image beside the class folders: preview.png",
    )


def test_system_folders_are_no_classes_and_no_news(tmp_path):
    put(tmp_path, *several("a", "b", "@eaDir", "$RECYCLE.BIN", "__MACOSX/a", ".thumbnails", "a/@eaDir"))
    assert counts(tmp_path) == [{"a": 7, "b": 7}, {"a": 1, "b": 1}] and load(tmp_path).notes == ()


def test_every_other_file_is_counted_with_its_reason(tmp_path):
    put(tmp_path, *several("a", "b"))
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "b" / "raw.psd").write_text("8BPS")
    (tmp_path / "b" / "gone.png").symlink_to("nowhere")
    (note,) = load(tmp_path).notes
    assert note.startswith("3 files were skipped: ")
    assert all(reason in note for reason in ("not an image (.txt)", "(.psd)", "broken link"))


def test_links_to_class_folders_are_followed(tmp_path):
    put(tmp_path / "elsewhere", *several("b"))
    put(tmp_path / "set", *several("a"))
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere" / "b")
    assert counts(tmp_path / "set") == [{"a": 7, "b": 7}, {"a": 1, "b": 1}]


def test_every_file_is_measured_once(tmp_path, monkeypatch):
    put(tmp_path, *several("a", "b", count=20))
    calls = Counter()
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *args, **options: calls.update([str(path)]) or real(path, *args, **options))
    load(tmp_path, memory="no", holdout=0)
    assert max(count for path, count in calls.items() if path.endswith(".png")) == 1


# What is ambiguous


@pytest.mark.parametrize(
    ("places", "problem", "readings"),
    [
        (several("train", "test", "extra"), "folders extra are beside the splits test, train", ["splits", "classes", "flat"]),
        ([*several("a", "b"), *(f"{i}.png" for i in range(8))], "8 images are directly in", ["classes", "flat"]),
        ([*several("train", "test"), *(f"{i}.png" for i in range(8))], "8 images are beside the splits", ["splits", "flat"]),
        (several("train", "training", "test"), "several folders are the same split", ["classes", "flat"]),
        (several("val", "test"), "but no train", ["classes", "flat"]),
        (several("train/a", "train/b", "other"), "'train' has class folders like a split", ["classes", "flat"]),
        (several("images", "masks"), "may be images and their masks", ["classes", "flat"]),
        (several("cat/train", "cat/test", "dog/train", "dog/test"), "has its own splits", ["splits", "classes"]),
        (several("trainA", "testA", "other"), "folders other are beside testA, trainA", ["pairs", "classes", "flat"]),
        ([*several("only/a", "only/b"), *(f"{i}.png" for i in range(8))], "beside the folder only", ["classes", "flat"]),
    ],
)
def test_an_ambiguous_folder_is_refused_with_readings_that_work(tmp_path, places, problem, readings):
    put(tmp_path, *places)
    with pytest.raises(DomtransError, match=problem) as refusal:
        load(tmp_path)
    offered = [
        layout for layout in ("classes", "splits", "flat", "labels", "pairs") if f"layout={layout}" in str(refusal.value)
    ]
    assert sorted(readings) == sorted(offered) or set(readings) < set(offered)
    for layout in offered:
        reading = read_folder(tmp_path, layout)
        assert len(reading.reading.index) + len(reading.reading.skipped) == len(places)


@pytest.mark.parametrize(
    ("layout", "needs"),
    [
        ("classes", "needs a subfolder for every class"),
        ("splits", "train and test"),
        ("pairs", "trainA"),
        ("labels", "label file"),
    ],
)
def test_a_layout_that_the_folder_does_not_have_is_refused(tmp_path, layout, needs):
    put(tmp_path, "0.png", "1.png")
    with pytest.raises(DomtransError, match=needs):
        load(tmp_path, layout=layout)


def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch):
    put(tmp_path, *several("cat", "dog"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DomtransError, match=r"needs a folder; give it with source\.path=FOLDER"):
        load("")


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "data", *several("a", "b"))
    assert len(load("~/data")) == 14


# Label files

ROWS = [(f"{number}.png", "cat" if number % 2 else "dog", "red" if number < 4 else "") for number in range(8)]


def as_dicts(*names):
    return [dict(zip(names, row, strict=False)) for row in ROWS]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,label,hair\n" + "".join(",".join(row) + "\n" for row in ROWS)),
        ("labels.csv", "﻿filename;class;hair\r\n" + "".join(";".join(row) + "\r\n" for row in ROWS)),
        ("anything.tsv", "hair\tcategory\timage\n" + "".join("\t".join(reversed(row)) + "\n" for row in ROWS)),
        ("train.csv", "id,label,hair\n" + "".join(",".join(row).replace(".png", "") + "\n" for row in ROWS)),
        ("metadata.jsonl", "".join(json.dumps(row) + "\n" for row in as_dicts("file_name", "label", "hair"))),
        ("labels.json", json.dumps(as_dicts("file", "label", "hair"))),
        ("labels.json", json.dumps({row["file"]: row for row in as_dicts("file", "label", "hair")})),
        ("labels.json", json.dumps({file: label for file, label, _ in ROWS})),
        ("dataset.json", json.dumps({"labels": [[file, label] for file, label, _ in ROWS]})),
        ("list.txt", "".join(f"./{file} {label}\n" for file, label, _ in ROWS)),
        ("labels.csv", "".join(f"{file},{label}\n" for file, label, _ in ROWS)),
    ],
)
def test_label_files_in_every_form(tmp_path, name, text):
    put(tmp_path, *(f"{number}.png" for number in range(8)))
    (tmp_path / name).write_text(text)
    found = load(tmp_path, holdout=0)
    assert contents(found) == {"dog": [0, 2, 4, 6], "cat": [1, 3, 5, 7]} and found.classes == ("cat", "dog")
    assert found.notes == ()
    if "red" in text:
        assert found.attributes["hair"].values == ("red",)
        assert found.attributes["hair"].index.tolist() == [0] * 4 + [-1] * 4


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_label_files_of_spreadsheets_are_read(tmp_path, encoding):
    put(tmp_path, *(f"{i}.png" for i in range(4)))
    text = "File;Label\r\n\r\n" + "".join(f'"{i}.png";"a; {i % 2}"\r\n' for i in range(4)) + ";\r\n"
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    assert contents(load(tmp_path, holdout=0)) == {"a; 0": [0, 2], "a; 1": [1, 3]}


def test_a_negative_class_is_refused(tmp_path):
    put(tmp_path, "0.png", "1.png")
    (tmp_path / "labels.csv").write_text("file,label\n0.png,1\n1.png,-1\n")
    with pytest.raises(DomtransError, match=r"the class -1: .*1\.png.*leave the cell of an unlabelled image empty"):
        load(tmp_path)


def test_two_levels_of_equal_folders_are_refused(tmp_path):
    put(tmp_path, *several("2019/cat", "2019/dog", "2020/cat", "2020/dog"))
    with pytest.raises(DomtransError, match=r"each of 2019, 2020 has the folders cat, dog, so either may be the classes"):
        load(tmp_path)
    assert load(tmp_path, layout="classes").classes == ("2019", "2020")
    assert load(tmp_path / "2019").classes == ("cat", "dog")


def test_names_that_only_look_like_splits_are_classes(tmp_path):
    put(tmp_path, *several("express train", "test pattern", "cat"))
    assert load(tmp_path).classes == ("cat", "express train", "test pattern")


@pytest.mark.parametrize(
    ("name", "advice"),
    [("a.npz", "the domain 'arrays' reads"), ("a.tar", "the domain 'webdataset' reads"), ("a.zip", "unpack it first")],
)
def test_other_data_than_a_folder_is_named(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DomtransError, match=f"is a file, not a folder; {advice}"):
        load(tmp_path / name)
    with pytest.raises(DomtransError, match="there are no images"):
        load(tmp_path)


def test_images_and_rows_without_each_other_are_counted(tmp_path):
    put(tmp_path, *(f"{number}.png" for number in range(5)))
    (tmp_path / "labels.csv").write_text("file,label\n0.png,a\n1.png,b\n2.png,\n3.png,a\ngone.png,b\n")
    found = load(tmp_path, holdout=0)
    assert contents(found) == {"a": [0, 3], "b": [1]}
    assert found.notes == (
        "2 files were skipped: 2 without a label in labels.csv",
        "1 of the 5 rows of labels.csv name no image",
    )


def test_numbers_are_in_natural_order_and_index_classes_txt(tmp_path):
    put(tmp_path, *(f"{number}.png" for number in range(3)))
    (tmp_path / "labels.csv").write_text("file,label\n0.png,10.0\n1.png,2.0\n2.png,1.0\n")
    assert load(tmp_path, holdout=0).classes == ("1", "2", "10")
    (tmp_path / "labels.csv").write_text("file,label\n0.png,1\n1.png,0\n2.png,1\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\nbird\n")
    assert contents(load(tmp_path, holdout=0)) == {"dog": [0, 2], "cat": [1]}
    assert load(tmp_path, holdout=0).classes == ("cat", "dog", "bird")


@pytest.mark.parametrize("by", ["column", "files", "folders", "file in each folder"])
def test_label_files_with_splits(tmp_path, by):
    folders = ("", "") if by in ("column", "files") else ("train/", "test/")
    names = [f"{folders[number // 4]}{number}.png" for number in range(8)]
    put(tmp_path, *names)
    labels = [f"{name},{'ab'[number % 2]}" for number, name in enumerate(names)]
    if by == "column":
        rows = [f"{row},{SPLITS[number // 4]}" for number, row in enumerate(labels)]
        (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    elif by == "folders":
        (tmp_path / "labels.csv").write_text("\n".join(["file,label", *labels]))
    else:
        for number, split in enumerate(SPLITS):
            rows = [row.removeprefix(folders[number]) for row in labels[4 * number : 4 * number + 4]]
            place = tmp_path / f"{split}.csv" if by == "files" else tmp_path / split / "metadata.csv"
            place.write_text("\n".join(["file_name,label", *rows]))
    assert [contents(load(tmp_path, split)) for split in SPLITS] == [{"a": [0, 2], "b": [1, 3]}, {"a": [4, 6], "b": [5, 7]}]


def test_attributes_beside_class_folders(tmp_path):
    put(tmp_path, "a/0.png", "a/1.png", "b/2.png", "b/3.png")
    (tmp_path / "metadata.csv").write_text("file_name,hair,box\na/0.png,red,1\na/1.png,brown,2\nb/2.png,red,3\n")
    found = load(tmp_path, holdout=0)
    assert contents(found) == {"a": [0, 1], "b": [2, 3]}
    assert found.attributes["hair"].values == ("brown", "red") and found.attributes["hair"].index.tolist() == [1, 0, 1, -1]


def test_labels_that_contradict_the_folders_are_refused(tmp_path):
    put(tmp_path, "a/0.png", "a/1.png", "b/2.png", "b/3.png")
    (tmp_path / "labels.csv").write_text("file,label\na/0.png,a\na/1.png,b\nb/2.png,b\nb/3.png,b\n")
    with pytest.raises(DomtransError, match=r"a/1\.png has the class 'b' in labels\.csv, but is in the folder 'a'"):
        load(tmp_path)
    assert contents(load(tmp_path, layout="labels", holdout=0)) == {"a": [0], "b": [1, 2, 3]}
    assert contents(load(tmp_path, layout="classes", holdout=0)) == {"a": [0, 1], "b": [2, 3]}


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"a.csv": "file,label\n0.png,x\n1.png,y\n2.png,x\n", "b.csv": "file,label\n0.png,y\n"}, "several label files"),
        ({"a.csv": "file,label\n0.png,x\n"}, "labels for 1 of the 3 images"),
        ({"a.csv": "file,label\n0.png,x\n0.png,y\n1.png,x\n"}, "two classes, 'x' and 'y'"),
    ],
)
def test_unclear_label_files_are_refused(tmp_path, files, problem):
    put(tmp_path, *(f"{number}.png" for number in range(3)))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DomtransError, match=problem):
        load(tmp_path)


def test_the_label_file_can_be_chosen(tmp_path):
    put(tmp_path, *(f"{number}.png" for number in range(3)))
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"file,label\n0.png,{name}0\n1.png,{name}1\n2.png,{name}1\n")
    assert load(tmp_path, labels="b.csv", holdout=0).classes == ("b0", "b1")
    with pytest.raises(DomtransError, match="there is no label file"):
        load(tmp_path, labels="c.csv")
    (tmp_path / "c.csv").write_text("nothing")
    with pytest.raises(DomtransError, match="names no images"):
        load(tmp_path, labels="c.csv")


@pytest.mark.parametrize(
    "text",
    ["", "\0", "[" * 100_000, "{", '{"a": 1}', '"x"', "file,label", "a,b\n1,2", "\x80", '{"file": "0.png"', "file\n\n,,,"],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "txt"])
def test_other_text_files_are_only_counted(tmp_path, text, suffix):
    put(tmp_path, "0.png", "1.png")
    (tmp_path / f"x.{suffix}").write_bytes(text.encode("latin-1"))
    found = load(tmp_path, holdout=0)
    reason = "not an image" if suffix in ("json", "txt") else "no label file"
    assert contents(found) == {None: [0, 1]} and f"1 {reason} (.{suffix})" in found.notes[0]


# Any tree

FOLDER_NAMES = st.sampled_from(
    ["a", "b", "10", "2", "train", "Test", "val", "trainA", "testB", "images", "masks", "@eaDir", ".hidden", "A", "B", "only"]
)
FILE_NAMES = st.sampled_from(["0.png", "1.PNG", "2.jfif", "10.webp", "x.txt", "labels.csv", "classes.txt", ".png", "Thumbs.db"])
PATHS = st.tuples(st.lists(FOLDER_NAMES, max_size=3), FILE_NAMES).map(lambda pair: "/".join([*pair[0], pair[1]]))
KINDS = {".png": "PNG", ".jfif": "JPEG", ".webp": "WEBP"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, unique=True, max_size=14), layout=st.sampled_from(["auto", "auto", "classes", "splits", "flat"]))
def test_every_file_is_read_with_its_class_or_counted(tmp_path_factory, paths, layout):
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        kind = KINDS.get(file.suffix.lower())
        if kind:
            Image.new("RGB", (4, 4)).save(file, kind)
        else:
            file.write_text("nothing")
    try:
        found = read_folder(root, layout)
    except DomtransError as refusal:
        assert str(root) in str(refusal) and "\n" not in str(refusal)
        return
    read = [Path(name).as_posix() for name in found.files]
    skipped = {file.path.relative_to(root).as_posix() for file in found.skipped}
    for path in paths:
        places = {path, *(parent.as_posix() for parent in Path(path).parents)}
        counted = bool(places & skipped) or path.endswith("classes.txt")
        assert (read.count(path) == 1) != counted, path
    for name, label in zip(read, found.labels.tolist() if found.labels is not None else [None] * len(read), strict=True):
        assert label is None or found.reading.classes[label] in name.split("/")[:-1]
    if found.reading.splits:
        parts = [found.split(name) for name in SPLITS]
        assert torch.cat(parts).unique().numel() == len(read) == sum(map(len, parts))
