"""Videos, frame by frame, read and written with PyAV, an optional library."""

import sys

import pytest
from PIL import Image

from domtrans import DomtransError, Registry, transfer
from domtrans.inference.video import open_clip
from image_folders import Mirror, animate, names, photo

COLOURS = [(230, 20, 20), (20, 200, 20), (20, 20, 230), (230, 230, 30)]


def make_video(path, seconds=(0.5, 0.25, 0.25, 1.0), size=(48, 32)):
    """A video that shows one colour after another, made from an animation."""
    frames = [Image.new("RGB", size, colour) for colour in COLOURS]
    source = path.with_name("source.webp")
    path.parent.mkdir(parents=True, exist_ok=True)
    duration = [round(1000 * one) for one in seconds]
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=duration, lossless=True)
    transfer(Mirror(), source, path)
    source.unlink()
    return path


def timed_colours(path):
    with open_clip(path, str(path)) as clip:
        return [(image.convert("RGB").getpixel((8, 8)), round(seconds, 3), image.size) for image, seconds in clip.frames]


def close(found, wanted, most=12):
    return all(abs(a - b) <= most for a, b in zip(found, wanted, strict=True))


def without_av(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)


def test_without_the_library_a_video_is_refused_and_the_images_are_transferred(tmp_path, monkeypatch):
    without_av(monkeypatch)
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.mp4").write_bytes(b"video")
    done = transfer(Mirror(), tmp_path / "in", tmp_path / "out")
    assert names(tmp_path / "out") == ["a.png"] and [path.name for path, _ in done.failed] == ["b.mp4"]
    with pytest.raises(DomtransError, match=r"b.mp4 needs the library av.*pip install 'domtrans\[video\]'"):
        transfer(Mirror(), tmp_path / "in" / "b.mp4", tmp_path / "b.mp4")


@pytest.mark.parametrize("ending", ["mp4", "m4v", "mov", "mkv", "webm"])
def test_frames_keep_their_durations(tmp_path, ending):
    pytest.importorskip("av", reason="videos need PyAV")
    path = make_video(tmp_path / f"a.{ending}")
    found = timed_colours(path)
    assert len(found) == 4 and all(size == (16, 16) for _, _, size in found)
    assert all(close(colour, wanted) for (colour, _, _), wanted in zip(found, COLOURS, strict=True))
    assert [seconds for _, seconds, _ in found[:3]] == [0.5, 0.25, 0.25]


def test_a_video_becomes_an_animation_and_one_in_a_folder_stays_a_video(tmp_path):
    pytest.importorskip("av", reason="videos need PyAV")
    make_video(tmp_path / "in" / "a.mp4")
    photo(tmp_path / "in" / "a.jpg")
    reports = []
    transfer(Mirror(), tmp_path / "in" / "a.mp4", tmp_path / "b.gif", size=10, listeners=(reports.append,))
    assert [(seconds, size) for _, seconds, size in timed_colours(tmp_path / "b.gif")][:3] == [
        (0.5, (10, 10)),
        *[(0.25, (10, 10))] * 2,
    ]
    assert reports, "a single video reports its frames"
    transfer(Mirror(), tmp_path / "in", tmp_path / "out", side_by_side=True, format="webp")
    assert names(tmp_path / "out") == ["a.mp4", "a.webp"]
    assert {size for _, _, size in timed_colours(tmp_path / "out" / "a.mp4")} == {(32, 16)}


def test_what_a_video_cannot_become(tmp_path):
    pytest.importorskip("av", reason="videos need PyAV")
    path, registry = make_video(tmp_path / "a.mp4"), Registry()
    registry.detector("whole", lambda image, size: [image.resize((size, size))])
    for target, options, sentence in [
        ("b.mp4", {"size": 15}, "15 x 15 pixels, but a video needs even numbers"),
        ("b.jpg", {}, "a.mp4 is a video; write a video"),
        ("b.png", {"crop": "whole", "registry": registry}, "a detector crops single images only"),
    ]:
        with pytest.raises(DomtransError, match=sentence):
            transfer(Mirror(), path, tmp_path / target, **options)
    assert names(tmp_path) == ["a.mp4"]


def test_damaged_videos_and_playlists_are_refused_in_one_sentence(tmp_path):
    pytest.importorskip("av", reason="videos need PyAV")
    whole = make_video(tmp_path / "a.mp4").read_bytes()
    secret = photo(tmp_path / "secret.png")
    contents = {
        "short.mp4": whole[: len(whole) // 3],
        "words.mkv": b"not a video" * 100,
        "empty.webm": b"",
        "playlist.mp4": f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
        "concat.mov": f"ffconcat version 1.0\nfile {secret}\n".encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DomtransError, match=f"{name}.*cannot be read|{name}.*no video stream") as refusal:
            transfer(Mirror(), tmp_path / name, tmp_path / "out.mp4")
        assert "\n" not in str(refusal.value)
    with pytest.raises(DomtransError, match="not a regular file"):
        (tmp_path / "folder.mp4").mkdir()
        with open_clip(tmp_path / "folder.mp4", "folder.mp4"):
            pass
    assert not (tmp_path / "out.mp4").exists()


def test_an_animation_becomes_a_video(tmp_path):
    pytest.importorskip("av", reason="videos need PyAV")
    transfer(Mirror(), animate(tmp_path / "a.gif"), tmp_path / "b.mp4")
    assert [seconds for _, seconds, _ in timed_colours(tmp_path / "b.mp4")][:2] == [0.2, 0.2]
