"""The domain ``folder`` with label files: their forms, what they say of classes, splits and attributes, and what is unclear."""

import json

import pytest

from domtrans import DomtransError
from numbered_images import SPLITS, contents, load, put

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


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("labels.csv", "file,label\n0.png,mère\n1.png,père\n".encode("cp1252"), "is not UTF-8 text; save it as UTF-8"),
        ("labels.txt", "0.png mère\n1.png père\n".encode("cp1252"), "is not UTF-8 text; save it as UTF-8"),
        ("metadata.jsonl", b'{"file": "0.png", "label": "a"}\n{"file": "1.p', "has no JSON object in line 2"),
        ("metadata.jsonl", b'{"file": "0.png", "label": "a"}\n["1.png", "b"]\n', "has no JSON object in line 2"),
        ("labels.json", b'{"0.png": "a",\n "1.png": "b"', "is not valid JSON: expecting ',' delimiter in line 2; correct it"),
        ("labels.json", b'[{"file": "0.png", "label": "a"}, {"file"', "is not valid JSON: expecting ':' delimiter in line 1"),
        ("labels.csv", b'file,label\n0.png,"a\n1.png,b\n', "has a quotation mark that is not closed"),
    ],
)
def test_a_label_file_that_names_images_and_cannot_be_read_is_refused(tmp_path, name, content, problem):
    put(tmp_path, "0.png", "1.png")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DomtransError, match=f"{name} {problem}"):
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
    ["", "\0", "[" * 100_000, "{", '{"a": 1}', '"x"', "file,label", "a,b\n1,2", "\x80", '{"file": "9.png"', "file\n\n,,,"],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "txt"])
def test_other_text_files_are_only_counted(tmp_path, text, suffix):
    put(tmp_path, "0.png", "1.png")
    (tmp_path / f"x.{suffix}").write_bytes(text.encode("latin-1"))
    found = load(tmp_path, holdout=0)
    reason = "not an image" if suffix in ("json", "txt") else "no label file"
    assert contents(found) == {None: [0, 1]} and f"1 {reason} (.{suffix})" in found.notes[0]


def write_rows(root, *rows, header="file,label"):
    (root / "labels.csv").write_text("\n".join([header, *rows]))


def test_a_row_never_names_an_image_in_another_folder(tmp_path):
    put(tmp_path, *(f"a/{i}.png" for i in range(4, 8)), *(f"b/{i}.png" for i in range(8)), "0.png")
    write_rows(tmp_path, *(f"a/{i}.png,cat" for i in range(8)))
    with pytest.raises(DomtransError, match=r"labels for 4 of the 13 images \(4 of the 8 rows of labels\.csv name no image\)"):
        load(tmp_path)
    found = load(tmp_path, layout="labels", holdout=0)
    assert contents(found) == {"cat": [0, 1, 2, 3]} and "4 of the 8 rows of labels.csv name no image" in found.notes


def test_rows_of_a_folder_that_is_missing_name_nothing(tmp_path):
    put(tmp_path, *(f"b/{i}.png" for i in range(4)))
    write_rows(tmp_path, *(f"a/{i}.png,cat" for i in range(4)))
    assert contents(load(tmp_path, holdout=0)) == {None: [0, 1, 2, 3]}


def test_a_file_name_beside_a_label_file_means_an_image_beside_it(tmp_path):
    put(tmp_path, "0.png", *(f"train/{i}.png" for i in range(6)), "test/6.png", "test/7.png")
    for split, numbers in (("train", range(6)), ("test", (0, 6, 7))):
        rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in numbers)
        (tmp_path / split / "metadata.csv").write_text(f"file_name,label\n{rows}")
    assert [contents(load(tmp_path, split, layout="splits")) for split in SPLITS] == [
        {"a": [1, 3, 5], "b": [2, 4, 6]},
        {"a": [7], "b": [8]},
    ]


@pytest.mark.parametrize("prefix", ["", "./", "/data/set/", "C:\\data\\set\\", "../set/"])
@pytest.mark.parametrize("suffix", [".png", ""])
def test_paths_of_another_computer_are_found_by_their_last_part(tmp_path, prefix, suffix):
    put(tmp_path, *(f"images/{'ab'[i // 4]}/{i % 4}.png" for i in range(8)))
    write_rows(tmp_path, *(f"{prefix}{'ab'[i // 4]}/{i % 4}{suffix},{'xy'[i // 4]}" for i in range(8)))
    assert contents(load(tmp_path, layout="labels", holdout=0)) == {"x": [0, 1, 2, 3], "y": [4, 5, 6, 7]}


def test_paths_of_another_computer_name_images_without_folders(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(4)))
    write_rows(tmp_path, *(f"/data/set/{i}.png,{'xy'[i % 2]}" for i in range(4)))
    assert contents(load(tmp_path, holdout=0)) == {"x": [0, 2], "y": [1, 3]}


def test_file_names_are_found_in_any_folder(tmp_path):
    put(tmp_path, *(f"images/{i}.png" for i in range(4)))
    write_rows(tmp_path, *(f"{i}.png,{'xy'[i % 2]}" for i in range(4)))
    assert contents(load(tmp_path, layout="labels", holdout=0)) == {"x": [0, 2], "y": [1, 3]}


@pytest.mark.parametrize("codes", ["012", ("0.0", "1.0", "2.0"), ("train", "val", "test")])
def test_the_partition_of_celeba_sets_the_splits(tmp_path, codes):
    put(tmp_path, *(f"{i}.png" for i in range(8)))
    write_rows(tmp_path, *(f"{i}.png,{codes[max(0, i - 5)]}" for i in range(8)), header="image_id,partition")
    found = [load(tmp_path, split) for split in SPLITS]
    assert [contents(images) for images in found] == [{None: [0, 1, 2, 3, 4, 5]}, {None: [7]}]
    assert "1 in the validation split" in found[0].notes[0]


@pytest.mark.parametrize(("column", "codes"), [("split", "012"), ("split", ("tr", "tr", "te")), ("partition", "123")])
def test_a_split_without_a_known_name_is_refused(tmp_path, column, codes):
    put(tmp_path, *(f"{i}.png" for i in range(4)))
    write_rows(tmp_path, *(f"{i}.png,{codes[i % 3]}" for i in range(4)), header=f"file,{column}")
    with pytest.raises(
        DomtransError, match=r"values (0, 1, 2|te, tr|1, 2, 3), which name no split; write train, training, test"
    ):
        load(tmp_path)


def test_a_numbered_fold_is_an_attribute(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(4)))
    write_rows(tmp_path, *(f"{i}.png,{i % 2}" for i in range(4)), header="file,fold")
    assert load(tmp_path, holdout=0).attributes["fold"].values == ("0", "1")


@pytest.mark.parametrize(
    "document",
    [
        [{"file": "0.png", "label": ["a", "b"]}, {"file": "1.png", "label": "a"}],
        [{"file": "0.png", "label": {"name": "a"}}, {"file": "1.png", "label": "a"}],
        {"0.png": ["a", "b"], "1.png": "a"},
        {"labels": [["0.png", [1, 0]], ["1.png", [0, 1]]]},
    ],
)
def test_a_list_or_table_is_no_class(tmp_path, document):
    put(tmp_path, "0.png", "1.png")
    (tmp_path / "labels.json").write_text(json.dumps(document))
    with pytest.raises(DomtransError, match=r"labels\.json gives an image a (list|table) as class: .*0\.png.*layout=flat"):
        load(tmp_path)
    assert contents(load(tmp_path, layout="flat", holdout=0)) == {None: [0, 1]}
