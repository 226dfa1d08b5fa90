"""Every example runs, as a person runs it."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import processes
from paths import EXAMPLES

SMALL = [
    "source.count=24",
    "source.test_count=12",
    "generator.width=4",
    "discriminator.width=4",
    "metrics.digits.steps=2",
    "train.batch_size=4",
    "train.steps=4",
    "train.log_every=1",
]
FIT = ["fit.steps=2", "fit.batch_size=4"]
ELSEWHERE = ("run_onnx", "hub_mixin")
"""Run by test_export.py and test_hub.py, which have models for them."""


def run(name, *arguments, cwd):
    """Run an example in a process of its own; warnings are errors."""
    done = processes.run(EXAMPLES / name, *arguments, cwd=cwd, env={"PYTHONWARNINGS": "error"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Call an example's main without a second import of torch."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def call(name, *arguments, **settings):
        importlib.import_module(name).main(*map(str, arguments), **settings)
        return capsys.readouterr().out

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of the first example, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    return folder / "run", run("train_in_python.py", folder / "run", *SMALL, *FIT, cwd=folder)


def test_train_in_python(trained):
    _, said = trained
    assert "step 4 of 4" in said and "transfer accuracy" in said and "(8, 1, 32, 32) torch.uint8" in said


def test_transfer_a_folder(trained, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "in" / "deep" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no picture")
    said = run("transfer_a_folder.py", trained[0], tmp_path / "in", tmp_path / "out", cwd=tmp_path)
    assert "wrote 1 images" in said and "skipped" in said
    assert (tmp_path / "out" / "deep" / "a.png").is_file()


def test_custom_loss(run_here, tmp_path):
    assert "with the layout loss" in run_here("custom_loss", tmp_path / "run", *SMALL, *FIT)
    assert "generator.layout" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_custom_encoder(run_here, tmp_path):
    assert "edge directions as f" in run_here("custom_encoder", tmp_path / "run", *SMALL)


def test_inside_a_program(run_here, tmp_path):
    said = run_here("inside_a_program", tmp_path / "run", *SMALL, *FIT)
    assert "trained to the end" in said and "4 logs received" in said
    assert "(12, 1, 32, 32) torch.float32 (12, 1, 32, 32) torch.uint8" in said and "measured: {'accuracy'" in said


def test_a_program_stops_early_and_uses_what_there_is(run_here, tmp_path):
    said = run_here("inside_a_program", tmp_path / "run", *SMALL, *FIT, "train.steps=400", patience=1)
    assert "stopped at step" in said and "everything is saved" in said and "measured" in said


def test_train_a_classifier_on_transferred(run_here, trained, tmp_path):
    said = run_here("train_a_classifier_on_transferred", trained[0], tmp_path / "made", 3)
    assert "24 transferred images in" in said and "accuracy on 1,000 real target test images:" in said
    assert len(list((tmp_path / "made").glob("[0-9]/*.png"))) == 24


@pytest.mark.filterwarnings("ignore")  # the libraries warn of what torch and Python are about to change
@pytest.mark.parametrize("name", ["lightning_module", "accelerate_loop"])
def test_own_loop_in_another_library(name, run_here, trained, tmp_path, monkeypatch):
    library = name.partition("_")[0]
    pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    said = run_here(name, trained[0], 2)
    assert "2 steps; losses of the last: " in said and "nan" not in said and "transferred (4, 1, 32, 32)" in said


def test_own_loop_has_the_losses_of_the_trainer(trained, monkeypatch):
    """L_D and L_G of a batch, as the engine's own trainer computes them for the same networks."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import own_loop

    import domtrans
    from domtrans.training.losses import build_losses, weighted_sum

    networks = own_loop.Networks(str(trained[0]))
    networks.view = None
    images = [networks.images(name).batch(torch.arange(4)) for name in ("source", "target")]
    source, target = (domtrans.to_float(batch) for batch in images)
    outputs = networks.generate(source, target)
    session = domtrans.Session.start("cpu")
    complete = replace(
        outputs,
        source_fake_logits=networks.D(outputs.source_fake),
        target_fake_logits=networks.D(outputs.target_fake),
        target_logits=networks.D(target),
        source_fake_features=networks.f(outputs.source_fake),
    )
    for field, loss in (("generator_losses", networks.generator_loss), ("discriminator_losses", networks.discriminator_loss)):
        terms = build_losses(networks.registry, getattr(networks.recipe, field), session)
        wanted, _ = weighted_sum(terms, complete, "any")
        torch.testing.assert_close(loss(outputs), wanted, rtol=1e-3, atol=1e-4)


def test_the_example_parts_keep_their_contracts(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import custom_encoder
    import custom_loss

    from domtrans.testing import check_encoder, check_loss

    check_encoder(custom_encoder.EdgeDirections)
    check_encoder(custom_encoder.EdgeDirections, directions=4, cells=2, size=64)
    check_loss(custom_loss.Layout)
    check_loss(custom_loss.Layout, either_polarity=False)


@pytest.fixture
def drawn(run_here, tmp_path, monkeypatch):
    """What photographs_to_drawings says and writes of a picture whose four bands are red, yellow, blue and green."""
    import photographs_to_drawings as example

    bands = Image.new("RGB", (4, 1))
    bands.putdata([(220, 50, 40), (250, 190, 90), (40, 60, 120), (45, 80, 50)])
    monkeypatch.setattr(example, "photographs", lambda: [bands.resize((4 * 80, 100), Image.Resampling.NEAREST)])
    return example, run_here("photographs_to_drawings", tmp_path / "new", 10), tmp_path / "new"


def test_photographs_to_drawings_cuts_each_split_from_a_band_of_its_own(drawn):
    example, said, folder = drawn
    assert f"{folder / 'photographs' / 'train'}: 8 images" in said and f"{folder / 'drawings' / 'test'}: 2 images" in said
    colours = {(220, 50, 40): "photographs/test", (250, 190, 90): "photographs/train"}
    colours |= {example.PENCILS[18]: "drawings/train", example.PENCILS[14]: "drawings/test"}
    for colour, place in colours.items():
        for path in (folder / place).glob("*.png"):
            with Image.open(path) as image:
                assert image.size == (64, 64) and image.getcolors() == [(64 * 64, colour)], path


def test_photographs_to_drawings_draws_areas_of_a_pencil_with_outlines(drawn):
    example, _, _ = drawn
    halves = Image.new("RGB", (64, 64), (250, 120, 45))
    halves.paste((35, 60, 125), (32, 0, 64, 64))
    image = example.draw(halves)
    assert image.getpixel((10, 32)) == example.PENCILS[7] and image.getpixel((54, 32)) == example.PENCILS[18]
    assert sum(image.getpixel((32, 32))) < 2 * sum(example.INK)


def test_photographs_to_drawings_refuses_what_it_cannot_use(drawn, monkeypatch):
    example, _, folder = drawn
    with pytest.raises(SystemExit, match="exists already"):
        example.main(str(folder))
    with pytest.raises(SystemExit, match="at least 5"):
        example.main(str(folder / "other"), "4")
    monkeypatch.undo()
    monkeypatch.setattr(example, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install scikit-image scikit-learn"):
        example.photographs()


def test_every_example_is_run_here():
    named = Path(__file__).read_text() + Path(__file__).with_name("test_attacks.py").read_text()
    assert not [path.name for path in EXAMPLES.glob("*.py") if path.stem not in named]
