"""The domain ``folder``: the layouts that people have, the classes and splits they give, and what is skipped."""

import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from domtrans import DomtransError
from domtrans_files.folder_reading import read_folder
from numbered_images import SPLITS, contents, counts, load, put, several

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
    for encoding in ("utf-8-sig", "utf-16"):  # of Notepad and of PowerShell
        (tmp_path / "classes.txt").write_text("b\nnone\na\n", encoding=encoding)
        assert load(tmp_path).classes[0] == "b"
    (tmp_path / "classes.txt").write_text("1 b\n2 a\n")
    assert load(tmp_path).classes == ("b", "a")
    (tmp_path / "classes.txt").write_text("b\nc\n")
    assert load(tmp_path).classes == ("a", "b")
    assert "classes.txt is not used, because it does not name the folders a" in load(tmp_path).notes


def test_names_that_only_look_like_splits_are_classes(tmp_path):
    put(tmp_path, *several("express train", "test pattern", "cat"))
    assert load(tmp_path).classes == ("cat", "express train", "test pattern")


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


def test_two_levels_of_equal_folders_are_refused(tmp_path):
    put(tmp_path, *several("2019/cat", "2019/dog", "2020/cat", "2020/dog"))
    with pytest.raises(DomtransError, match=r"each of 2019, 2020 has the folders cat, dog, so either may be the classes"):
        load(tmp_path)
    assert load(tmp_path, layout="classes").classes == ("2019", "2020")
    assert load(tmp_path / "2019").classes == ("cat", "dog")


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


# Any tree

FOLDER_NAMES = st.sampled_from(
    ["a", "b", "10", "2", "train", "Test", "val", "trainA", "testB", "images", "masks", "@eaDir", ".hidden", "A", "B", "only"]
)
FILE_NAMES = st.sampled_from(["0.png", "1.PNG", "2.jfif", "10.webp", "x.txt", "labels.csv", "classes.txt", ".png", "Thumbs.db"])
PATHS = st.tuples(st.lists(FOLDER_NAMES, max_size=3), FILE_NAMES).map(lambda pair: "/".join([*pair[0], pair[1]]))
KINDS = {".png": "PNG", ".jfif": "JPEG", ".webp": "WEBP"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, unique=True, max_size=14), layout=st.sampled_from(["auto", "auto", "classes", "splits", "flat"]))
@example(paths=["train/0.png", "Test/a/0.png", "Test/a/a/0.png"], layout="auto")  # a folder that only one split has
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
