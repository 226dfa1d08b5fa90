"""Transfer of an .npy file: one range for all its images, and no option that is ignored in silence."""

import threading

import numpy as np
import pytest

from commands import in_process
from domtrans import DomtransError, Stopped, load, transfer
from tiny import bars, registry

IMAGES = bars(5)[0]


@pytest.fixture(scope="module")
def run(trained):
    return load(trained[0], device="cpu", registry=registry())


def saved(folder, images, name="in.npy"):
    np.save(folder / name, images)
    return folder / name


def test_one_range_is_detected_for_all_batches(run, tmp_path):
    images = IMAGES.astype(np.float32)
    images[-1] = 0  # alone, it would be taken for 0 to 1
    transfer(run, saved(tmp_path, images), tmp_path / "out.npy", batch_size=4)
    expected = run.transfer(images, value_range=(0, 255))
    assert np.allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-2) and expected[-1].max() > 1


@pytest.mark.parametrize(
    ("low", "high", "message"), [(0.123, 0.987, "which can mean 0 to 1 or -1 to 1"), (0.0, 7.5, "not clearly")]
)
def test_an_unclear_range_is_refused_before_anything_is_computed(run, tmp_path, low, high, message):
    images = np.zeros((6, 32, 32, 3), np.float64)
    images[-1] = np.linspace(low, high, 32)[:, None]
    done = []
    with pytest.raises(
        DomtransError, match=f"the images in .*in.npy have float64 values .*{message}.* --value-range .*Python: value_range="
    ):
        transfer(run, saved(tmp_path, images), tmp_path / "out.npy", batch_size=2, listeners=done.append)
    assert not done


def test_the_range_that_the_refusal_asks_for_can_be_stated(run, tmp_path):
    images = np.random.default_rng(0).random((5, 32, 32, 3))
    source = saved(tmp_path, images)
    for black in (0, -1):
        transfer(run, source, tmp_path / "out.npy", value_range=(black, 1), batch_size=2, force=True)
        expected = run.transfer(images, value_range=(black, 1))
        assert np.allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-4)
    with pytest.raises(DomtransError, match=r"values from .* outside the stated range from 5 to 6"):
        transfer(run, source, tmp_path / "other.npy", value_range=(5, 6))
    with pytest.raises(DomtransError, match="value_range must be the values of black and white"):
        transfer(run, source, tmp_path / "other.npy", value_range=(1, 0))
    with pytest.raises(DomtransError, match=r"value_range is for an \.npy file"):
        transfer(run, tmp_path, tmp_path / "made", value_range=(0, 1))
    assert not (tmp_path / "other.npy").exists()


@pytest.mark.parametrize("path", ["new/../in.npy", "old/../in.npy", "~/in.npy"])
def test_the_input_is_not_replaced_under_another_path(run, tmp_path, monkeypatch, path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    source = saved(tmp_path, IMAGES)
    with pytest.raises(DomtransError, match="would replace the input"):
        transfer(run, source, path, force=True)
    assert np.array_equal(np.load(source), IMAGES)


def test_grey_images_keep_their_axes_in_every_batch(run, tmp_path):
    grey = np.asfortranarray(IMAGES[..., 0])
    transfer(run, saved(tmp_path, grey), tmp_path / "out.npy", batch_size=3)  # [3, H, W] alone would not be clear
    made = np.load(tmp_path / "out.npy")
    assert made.shape == grey.shape and np.abs(made.astype(int) - run.transfer(grey)).max() <= 1
    swapped = saved(tmp_path, IMAGES.astype(">u2") * 257, "swapped.npy")
    transfer(run, swapped, tmp_path / "words.npy")
    assert np.load(tmp_path / "words.npy").shape == (5, 32, 32, 1)


def test_the_engine_computes_it(run, tmp_path, monkeypatch):
    engines = []
    monkeypatch.setattr(type(run), "inference_engine", lambda self, engine: engines.append(engine) or "torch")
    transfer(run, saved(tmp_path, IMAGES), tmp_path / "out.npy", engine="onnxruntime")
    assert set(engines) == {"onnxruntime"}


def test_existing_outputs_are_kept_skipped_or_replaced(run, tmp_path):
    source, target = saved(tmp_path, IMAGES), saved(tmp_path, np.zeros(1), "out.npy")
    with pytest.raises(DomtransError, match="exists"):
        transfer(run, source, target)
    done = transfer(run, source, target, skip_existing=True)
    assert done.skipped == (target,) and not done.written and np.load(target).shape == (1,)
    assert transfer(run, source, target, force=True).written == (target,) and len(np.load(target)) == 5
    (tmp_path / "link.npy").symlink_to(source)
    with pytest.raises(DomtransError, match="would replace the input"):
        transfer(run, source, tmp_path / "link.npy", force=True)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"format": "png"}, "format"),
        ({"size": 9}, "size"),
        ({"keep_size": True}, "keep-size"),
        ({"side_by_side": True}, "side-by-side"),
        ({"crop": "faces"}, "crop"),
        ({"sheet": "sheet.png"}, "sheet"),
        ({"parameters": "a.json"}, "parameters"),
        ({"project": True}, "project"),
        ({"tiles": True}, "tiles"),
        ({"max_pixels": 0}, "max-pixels"),
        ({"part": (1, 2)}, "several processes cannot share it"),
    ],
)
def test_what_an_array_file_cannot_take_is_refused_by_name(run, tmp_path, options, name):
    with pytest.raises(DomtransError, match=name):
        transfer(run, saved(tmp_path, IMAGES), tmp_path / "out.npy", **options)
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], "is one image"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"in\.npy must be .*\[N, H, W, 1 or 3\]"),
        (np.zeros((2, 0, 8), np.uint8), "cannot be read|has no images"),
        (np.array(["a"]), "must be"),
    ],
)
def test_other_files_are_refused(run, tmp_path, images, message):
    with pytest.raises(DomtransError, match=message):
        transfer(run, saved(tmp_path, images), tmp_path / "out.npy")
    with pytest.raises(DomtransError, match=r"in\.npy is an array file, which is transferred alone"):
        transfer(run, [tmp_path / "in.npy", "a.png"], tmp_path / "out")


def test_the_listeners_hear_of_the_images_and_a_stop_writes_nothing(run, tmp_path):
    source, heard, stop = saved(tmp_path, IMAGES), [], threading.Event()
    transfer(run, source, tmp_path / "out.npy", batch_size=2, listeners=heard.append)
    assert (heard[-1].phase, heard[-1].step, heard[-1].steps) == ("transfer", 5, 5)
    stop.set()
    with pytest.raises(Stopped):
        transfer(run, source, tmp_path / "other.npy", stop=stop)
    assert not (tmp_path / "other.npy").exists()


def test_the_command_transfers_an_array_file(trained, tmp_path, capsys):
    code, out, _ = in_process(capsys, "transfer", trained[0], saved(tmp_path, IMAGES), tmp_path / "out.npy", "--device", "cpu")
    assert code == 0 and out == f"wrote {tmp_path / 'out.npy'}\n" and len(np.load(tmp_path / "out.npy")) == 5


def test_the_command_states_the_range(trained, tmp_path, capsys):
    source = saved(tmp_path, np.random.default_rng(0).random((2, 32, 32, 3)))
    command = ("transfer", trained[0], source, tmp_path / "out.npy", "--device", "cpu")
    code, _, fault = in_process(capsys, *command)
    assert code == 2
    assert "say which: --value-range 0 1 (Python: value_range=(0, 1)) or --value-range -1 1" in " ".join(fault.split())
    assert in_process(capsys, *command, "--value-range", "-1", "1")[0] == 0
    made = np.load(tmp_path / "out.npy")
    assert made.dtype == np.float32 and -1 <= made.min() < 0
