"""Scanning folders: every file is an image or is skipped with a reason, and links to folders are read once."""

import os
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domtrans import SkipKind, SkippedFile, count_skipped, describe_skipped, find_images, image_suffixes, scan_images
from domtrans.data import image_formats
from domtrans.data.image_formats import HEIF_SUFFIXES, IMAGE_SUFFIXES, UNSUPPORTED_SUFFIXES
from domtrans.data.image_scan import skipped_file, walk_images
from permissions import as_anyone


def put(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def reasons(folder):
    return {file.path.relative_to(folder).as_posix(): file.reason for file in scan_images(folder).skipped}


def images(folder):
    return [path.relative_to(folder).as_posix() for path in scan_images(folder).images]


@pytest.fixture
def without_heif(monkeypatch):
    monkeypatch.setattr(image_formats, "find_spec", lambda name: None)


@pytest.fixture
def with_heif(monkeypatch):
    monkeypatch.setattr(image_formats, "find_spec", lambda name: name)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_of_a_readable_format_marks_an_image(tmp_path, suffix):
    put(tmp_path / f"a{suffix}", tmp_path / f"B{suffix.upper()}")
    assert images(tmp_path) == sorted([f"a{suffix}", f"B{suffix.upper()}"])


def test_every_suffix_that_pillow_knows_is_read_or_has_a_reason(tmp_path):
    from PIL import Image

    Image.init()
    for suffix, kind in Image.registered_extensions().items():
        found = skipped_file(put(tmp_path / f"a{suffix}") or tmp_path / f"a{suffix}")
        if kind in image_formats.READABLE_FORMATS:
            assert found is None, suffix
        elif suffix not in (".h5", ".hdf", ".pdf", ".mpg", ".mpeg", *HEIF_SUFFIXES):
            assert found is not None and found.reason, suffix


def test_images_of_an_extra_are_counted_with_its_name(tmp_path, without_heif):
    put(tmp_path / "a.heic", tmp_path / "b.HEIF", tmp_path / "c.png")
    scan = scan_images(tmp_path)
    assert [path.name for path in scan.images] == ["c.png"] and ".heic" not in image_suffixes()
    assert reasons(tmp_path) == {"a.heic": "needs the extra heif (.heic)", "b.HEIF": "needs the extra heif (.heif)"}
    assert all(file.expected and not file.quiet for file in scan.skipped)


def test_images_of_an_installed_extra_are_read(tmp_path, with_heif):
    put(tmp_path / "a.heic", tmp_path / "c.png")
    assert images(tmp_path) == ["a.heic", "c.png"] and ".heic" in image_suffixes()


def test_reasons(tmp_path):
    put(tmp_path / "notes.txt", tmp_path / "photo.cr2", tmp_path / "none", tmp_path / ".hidden.png", tmp_path / "Thumbs.db")
    put(tmp_path / "@eaDir" / "a.png", tmp_path / "__MACOSX" / "b.png", tmp_path / "System Volume Information" / "c.png")
    put(tmp_path / ".git" / "d.png")
    (tmp_path / "gone.png").symlink_to("missing.png")
    (tmp_path / "gone").symlink_to("missing")
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert images(tmp_path) == []
    assert reasons(tmp_path) == {
        ".git": "hidden folder",
        ".hidden.png": "hidden file",
        "@eaDir": "system folder @eaDir",
        "System Volume Information": "system folder System Volume Information",
        "Thumbs.db": "system file Thumbs.db",
        "__MACOSX": "system folder __MACOSX",
        "gone": "broken link",
        "gone.png": "broken link",
        "loop.png": "link that leads back",
        "none": "not an image (no suffix)",
        "notes.txt": "not an image (.txt)",
        "photo.cr2": "unsupported image format (.cr2)",
        "pipe.png": "not a regular file",
    }
    scan = scan_images(tmp_path)
    assert {file.path.name for file in scan.skipped if file.expected} == {"photo.cr2", "gone.png"}
    assert {file.path.name for file in scan.skipped if file.quiet} == {
        ".git",
        ".hidden.png",
        "@eaDir",
        "System Volume Information",
        "Thumbs.db",
        "__MACOSX",
    }


def test_links_to_folders_are_read_once(tmp_path):
    root = tmp_path / "root"
    put(root / "a" / "1.png", tmp_path / "other" / "2.png", tmp_path / "other" / "deep" / "3.png")
    (root / "more").symlink_to(tmp_path / "other")
    (root / "again").symlink_to(tmp_path / "other")
    (root / "0-link-to-a").symlink_to("a")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to(".")
    (tmp_path / "other" / "back").symlink_to(root)
    assert images(root) == ["a/1.png", "again/2.png", "again/deep/3.png"]
    assert reasons(root) == {
        "0-link-to-a": "link to a folder that is read already",
        "a/self": "link that leads back",
        "a/up": "link that leads back",
        "again/back": "link that leads back",
        "more": "link to a folder that is read already",
    }
    assert find_images(root) == scan_images(root).images


def test_a_folder_that_is_itself_a_link_is_read(tmp_path):
    put(tmp_path / "real" / "deep" / "a.png")
    (tmp_path / "link").symlink_to("real")
    assert images(tmp_path / "link") == ["deep/a.png"]


def test_an_unreadable_folder_is_named():
    with as_anyone() as folder:
        put(folder / "a.png", folder / "closed" / "b.png")
        (folder / "closed").chmod(0)
        scan = scan_images(folder)
        (folder / "closed").chmod(0o700)
        assert [path.name for path in scan.images] == ["a.png"]
        assert [(file.path.name, file.reason, file.expected) for file in scan.skipped] == [
            ("closed", "unreadable folder", True)
        ]


def test_a_note_counts_by_reason_and_leaves_quiet_files_out():
    files = [SkippedFile(Path(f"{i}.txt"), SkipKind.NOT_AN_IMAGE, "(.txt)") for i in range(1200)]
    files += [SkippedFile(Path("a"), SkipKind.BROKEN_LINK), SkippedFile(Path("b"), SkipKind.HIDDEN_FILE)]
    assert describe_skipped(files) == "1,201 files were skipped: 1,200 not images (.txt), 1 broken link"
    assert describe_skipped(files[-2:]) == "1 file was skipped: 1 broken link"
    assert describe_skipped(files[-1:]) == ""
    assert count_skipped(files) == {files[0]: 1200, files[-2]: 1, files[-1]: 1}
    images = [SkippedFile(Path(f"{i}.png"), SkipKind.NOT_IN_USE, "not an image of a regular file") for i in range(2)]
    assert describe_skipped(images) == "2 files were skipped: 2 not an image of a regular file"


SUFFIXES = sorted(IMAGE_SUFFIXES | HEIF_SUFFIXES | UNSUPPORTED_SUFFIXES | {".txt", ".json", ""})
NAMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "", "", ".", "@"]),
        st.text(string.ascii_letters + string.digits + " äé数.-[]", min_size=1, max_size=6).filter(
            lambda name: name.strip(". ")
        ),
        st.sampled_from(SUFFIXES),
    ),
)
FOLDERS = st.lists(st.sampled_from(["a", "b", "cat", ".hidden", "@eaDir", "__MACOSX", "x.png"]), max_size=3)
TREES = st.lists(
    st.tuples(FOLDERS, NAMES, st.sampled_from(["file", "file", "file", "link", "broken", "folder link"])), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_every_file_is_an_image_or_has_a_reason(tree):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "root")
        root.mkdir()
        put(Path(place, "outside", "linked.png"), Path(place, "outside", "deep", "linked.txt"))
        for folders, name, kind in tree:
            path = root.joinpath(*folders, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if kind == "file":
                    path.touch()
                else:
                    targets = {"link": "outside/linked.png", "broken": "nothing", "folder link": "outside"}
                    path.symlink_to(Path(place, targets[kind]))
            except FileExistsError:
                continue
        scan = scan_images(root)
        skipped = {file.path for file in scan.skipped}
        assert not skipped & set(scan.images) and all(file.reason for file in scan.skipped)
        assert len(skipped) == len(scan.skipped) and len(set(scan.images)) == len(scan.images)
        assert scan.images == sorted(scan.images) and all(path.is_file() for path in scan.images)
        assert all(path.suffix.lower() in image_suffixes() for path in scan.images)
        for folder, folders, names in os.walk(root):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in [*names, *links]):
                inside = [*path.parents, path]
                is_covered = path in scan.images or bool(skipped & set(inside))
                is_read_folder = path.is_dir() and any(path in image.parents for image in scan.images)
                assert is_covered or is_read_folder, path
        walked = list(walk_images(root))
        assert sorted(item for item in walked if isinstance(item, Path)) == scan.images
