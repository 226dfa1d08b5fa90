"""Drawings: transferred to SVG, pictures and parameters, drawn again from edited files, and read from a run of pixels."""

import json
import pickle
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dots
import tiny_parts
from commands import in_process
from domtrans import DomtransError, load, render, transfer, use
from domtrans.runs import projection
from image_folders import animate, names, photo
from installed_plugins import install

PHOTOS = torch.randint(0, 256, (4, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def registry():
    return dots.registry()


@pytest.fixture(scope="module")
def run(registry, tmp_path_factory):
    """A run whose g gives parameters."""
    return dots.train_run(tmp_path_factory.mktemp("drawn") / "run", registry=registry)


@pytest.fixture(scope="module")
def pixel_run(registry, tmp_path_factory):
    """A run whose g gives pixels, with a c that is fitted in no time."""
    with pytest.MonkeyPatch.context() as patch:
        fit = partial(projection.fit_parameter_reader, steps=4, batch_size=4)
        patch.setattr(projection, "fit_parameter_reader", fit)
        run = dots.train_run(tmp_path_factory.mktemp("pixels") / "run", registry=registry, generator=use("tiny-g"))
        run.project(progress=False)
        yield run


@pytest.fixture
def photos(tmp_path):
    for number, colour in enumerate(("red", "blue", "white")):
        photo(tmp_path / "photos" / f"{number}.jpg", colour)
    photo(tmp_path / "photos" / "more" / "0.png", "black")
    return tmp_path / "photos"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_final_images_are_the_drawings_of_the_engine(run, registry):
    parameters = run.parameters(PHOTOS)
    drawn = np.stack([run.draw(each) for each in parameters]).transpose(0, 3, 1, 2)
    assert np.array_equal(run.transfer(PHOTOS).numpy(), drawn)
    assert run.draw(parameters[0], size=50).size == (50, 50) and run.drawing(parameters[0]).to_svg().startswith("<svg")
    assert run.parameters([]) == [] and run.project() is run
    assert load(run.path, device="cpu", registry=registry).parameters(PHOTOS) == parameters
    assert run.results["drawn_by"] == "dots 2, from the parameters of G(x)"
    with pytest.raises(DomtransError, match="'shape' is missing"):
        run.draw({"paper": "#ffffff", "shapeColor": "#ffffff"})


def test_one_photo_becomes_an_svg_a_picture_of_any_size_and_parameters(run, photos, tmp_path):
    done = transfer(run, photos / "0.jpg", tmp_path / "a.svg", parameters=tmp_path / "a.json", size=40)
    assert done.written == (tmp_path / "a.svg", tmp_path / "a.json") and not done.projected
    (parameters,) = run.parameters([photos / "0.jpg"])
    assert json.loads((tmp_path / "a.json").read_text())["parameters"] == parameters
    assert run.drawing(parameters).to_svg(40) in (tmp_path / "a.svg").read_text()
    transfer(run, photos / "0.jpg", tmp_path / "a.png", size=70)
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(run.draw(parameters, 70))), "drawn at this size, not enlarged"


def test_a_folder_becomes_a_folder_of_svg_and_one_of_parameters(run, registry, photos, tmp_path):
    done = transfer(run, photos, tmp_path / "out", format="svg", parameters=tmp_path / "parameters", sheet=tmp_path / "s.png")
    assert names(tmp_path / "out") == ["0.svg", "1.svg", "2.svg", "more/0.svg"] and len(done.written) == 8
    assert names(tmp_path / "parameters") == ["0.json", "1.json", "2.json", "more/0.json"] and (tmp_path / "s.png").is_file()
    transfer(run, photos, tmp_path / "out", format="svg")  # its own SVGs are replaced
    with pytest.raises(DomtransError, match=r"0.json and 3 more exist and were not written by domtrans"):
        transfer(run, photos, tmp_path / "other", parameters=tmp_path / "parameters")  # somebody may have edited them
    drawn = render(tmp_path / "parameters", tmp_path / "again", registry=registry)
    assert names(tmp_path / "again") == names(tmp_path / "out") and len(drawn.written) == 4
    assert (tmp_path / "again" / "1.svg").read_bytes() == (tmp_path / "out" / "1.svg").read_bytes()


def test_an_svg_of_the_user_is_not_replaced(run, photos, tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    with pytest.raises(DomtransError, match="was not written by domtrans"):
        transfer(run, photos / "0.jpg", tmp_path / "a.svg")
    transfer(run, photos / "0.jpg", tmp_path / "a.svg", force=True)


def halves(image, size):
    """A detector that finds two objects."""
    return [image.resize((size, size)), image.rotate(90).resize((size, size))]


def test_every_crop_becomes_an_svg_beside_an_overview(run, photos, tmp_path):
    registry = run.registry.with_part("detector", "halves", halves)
    options = {"crop": "halves", "registry": registry, "parameters": tmp_path / "a.json"}
    done = transfer(run, photos / "0.jpg", tmp_path / "a.svg", **options)
    assert {path.name for path in done.written} == {"a-1.svg", "a-1.json", "a-2.svg", "a-2.json", "a.png"}
    assert names(tmp_path)[:5] == ["a-1.json", "a-1.svg", "a-2.json", "a-2.svg", "a.png"]


def test_what_cannot_become_a_drawing_is_refused(run, photos, tmp_path, registry):
    animate(tmp_path / "a.gif")
    for destination, options, sentence in (
        ("a.png", {"project": True}, "draws by parameters already"),
        ("a.svg", {"side_by_side": True}, "an SVG holds the drawing alone"),
        ("a.png", {"parameters": tmp_path / "a.txt"}, "must end in .json"),
    ):
        with pytest.raises(DomtransError, match=sentence):
            transfer(run, photos / "0.jpg", tmp_path / destination, **options)
    with pytest.raises(DomtransError, match="parameters are written for single images only"):
        transfer(run, tmp_path / "a.gif", tmp_path / "b.gif", parameters=tmp_path / "b.json")
    with pytest.raises(DomtransError, match="has the name of a file"):
        transfer(run, photos, tmp_path / "out", parameters=tmp_path / "b.json")
    other = dots.train_run(tmp_path / "other", registry=registry, generator=use("tiny-g"), target=use("squares"))
    for options in ({"project": True}, {"parameters": tmp_path / "a.json"}):
        with pytest.raises(DomtransError, match=r"the target 'squares' of the run in .* is not drawn by an engine"):
            transfer(other, photos / "0.jpg", tmp_path / "a.png", **options)


def test_a_run_of_pixels_is_projected(pixel_run, photos, tmp_path, registry):
    projected = pixel_run.project()
    parameters = pixel_run.parameters(PHOTOS)
    assert parameters == projected.parameters(PHOTOS) and not pixel_run.draws_by_parameters
    drawn = np.stack([pixel_run.draw(each) for each in parameters]).transpose(0, 3, 1, 2)
    assert np.array_equal(projected.transfer(PHOTOS).numpy(), drawn)
    assert not np.array_equal(pixel_run.transfer(PHOTOS).numpy(), drawn), "the run itself still gives pixels"
    assert transfer(pixel_run, photos / "0.jpg", tmp_path / "a.svg").projected
    assert not transfer(pixel_run, photos / "0.jpg", tmp_path / "a.png").projected
    transfer(pixel_run, photos / "0.jpg", tmp_path / "b.png", project=True, size=30)
    assert np.array_equal(
        pixels(tmp_path / "b.png"), np.asarray(pixel_run.draw(projected.parameters([photos / "0.jpg"])[0], 30))
    )
    again = load(pixel_run.path, device="cpu", registry=registry).project(progress=False)
    assert again.parameters(PHOTOS) == parameters, "c is cached, and the same for every run"
    measured = projected.evaluate(progress=False)
    assert measured["drawn_by"].startswith("dots 2") and set(measured["reading"]) == {"shape", "shapeColor", "paper"}
    assert "drawn_by" not in pixel_run.evaluate(progress=False)


def test_drawing_again_reports_files_that_are_wrong(run, registry, tmp_path):
    folder = tmp_path / "parameters"
    folder.mkdir()
    good = run.drawing(run.parameters(PHOTOS)[0]).to_json()
    (folder / "a.json").write_text(good.replace("dots 2", "dots 1"))
    (folder / "b.json").write_text("{}")
    done = render(folder, tmp_path / "out", format="png", size=33, registry=registry)
    assert done.written == (tmp_path / "out" / "a.png",) and pixels(done.written[0]).shape == (33, 33, 3)
    assert done.failed[0][0] == folder / "b.json" and "dots 1, and dots 2 draws them" in done.notes[0]
    render(folder / "a.json", tmp_path, registry=registry)
    assert (tmp_path / "a.svg").is_file()
    for source, destination, options, sentence in (
        (folder / "b.json", "b.svg", {}, "does not hold the parameters of a drawing"),
        (folder / "c.json", "c.svg", {}, "there is no file or folder"),
        (tmp_path / "out", "c", {}, "there are no files of parameters"),
        (folder, "c.svg", {}, "must be a folder"),
        (folder / "a.json", "c.mp4", {}, "cannot become the video"),
        (folder / "a.json", "c.png", {"format": "svg"}, "not that of the format svg"),
        (folder / "a.json", "c.png", {"size": 0}, "size=0 is out of range"),
        (folder / "a.json", "c.txt", {}, "does not end in the suffix"),
    ):
        with pytest.raises(DomtransError, match=sentence):
            render(source, tmp_path / destination, registry=registry, **options)


def test_drawing_a_folder_passes_over_no_file_of_parameters(run, registry, tmp_path):
    folder, elsewhere = tmp_path / "parameters", tmp_path / "elsewhere"
    text = run.drawing(run.parameters(PHOTOS)[0]).to_json()
    for file in (folder / "a.json", folder / "B.JSON", folder / "b.json", elsewhere / "c.json"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "lost.json").symlink_to(tmp_path / "nowhere")
    (folder / "notes.txt").write_text("not of interest")
    done = render(folder, tmp_path / "out", registry=registry)
    drawn = sorted(str(file.relative_to(tmp_path / "out")) for file in done.written)
    assert drawn == ["B.JSON.svg", "a.svg", "b.json.svg", "linked/c.svg"]
    assert done.failed == ((folder / "lost.json", f"{folder / 'lost.json'}: broken link"),)
    (elsewhere / "c.json").unlink()
    (elsewhere / "lost.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DomtransError, match=r"there are no files of parameters .*lost.json: broken link"):
        render(elsewhere, tmp_path / "out", registry=registry)


def test_the_commands(run, photos, tmp_path, monkeypatch, capsys):
    """With the parts in plugins that are installed, because a command knows no others."""
    (tmp_path / "installed").mkdir()
    for module in (dots, tiny_parts):
        code = Path(module.__file__).read_text()
        if module is tiny_parts:
            code += "\n\n@hookimpl\ndef register(registry):\n    Plugin().register(registry)\n"
        install(tmp_path / "installed", module.__name__, code)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    svg, file = tmp_path / "a.svg", tmp_path / "a.json"
    code, out, err = in_process(capsys, "transfer", run.path, photos / "0.jpg", svg, "--parameters", file)
    assert (code, out) == (0, f"wrote {svg} and 1 file of parameters\n"), err
    edited = json.loads(file.read_text())
    edited["parameters"] |= {"shape": "star", "paper": "#123456"}
    file.write_text(json.dumps(edited))
    code, out, err = in_process(capsys, "render", file, tmp_path / "a.png", "--size", "30")
    assert (code, out) == (0, f"wrote {tmp_path / 'a.png'}\n"), err
    assert pixels(tmp_path / "a.png")[0, 0].tolist() == [0x12, 0x34, 0x56]
    code, out, err = in_process(capsys, "render", "--schema", "dots", "margin=2")
    assert code == 0 and json.loads(out)["properties"]["engine"] == {"const": {"name": "dots", "margin": 2}}, err
    code, _, err = in_process(capsys, "render", "--schema", "dots", "--out", tmp_path / "schema.json")
    assert code == 2 and "--schema prints a schema; it takes no --out" in err and not (tmp_path / "schema.json").exists()
    code, _, err = in_process(capsys, "render", file)
    assert code == 2 and "give the parameters and the output" in err
    for name in ("neighbour_dots", "neighbour_tiny_parts"):
        sys.modules.pop(name, None)


def test_runs_can_be_pickled(run):
    assert pickle.loads(pickle.dumps(run.engine)).part == run.engine.part
