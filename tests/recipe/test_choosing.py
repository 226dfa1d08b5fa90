"""A recipe that chooses by its data: what it sees, what wins over it, and what is recorded."""

import numpy as np
import pytest
from PIL import Image

from commands import in_process
from domtrans import DomtransError, ImageSet, find_recipe, override, train
from domtrans.data.look import look
from domtrans.registry.parts import Part
from tiny import SMALL_FOLDERS, registry


def write_images(folder, count, side=60, *, grey=False, classes=()):
    """Noise, ``side`` x ``side + 20`` pixels, in a folder for each class if there are any."""
    rng = np.random.default_rng(0)
    for name in classes or ("",):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (side, side + 20) if grey else (side, side + 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return str(folder)


def chosen(tmp_path, *changes):
    return find_recipe("folders-dtn", registry(), [f"source.path={tmp_path / 'a'}", f"target.path={tmp_path / 'b'}", *changes])


def test_what_is_seen_of_a_domain(tmp_path):
    write_images(tmp_path / "a", 24, grey=True, classes=("cat", "dog"))
    facts = look(registry(), Part(name="folder", options={"path": str(tmp_path / "a")}))
    assert (facts.images, dict(facts.classes), facts.channels, facts.side) == (42, {"cat": 21, "dog": 21}, 1, 60)


def test_without_classes_f_is_fitted_without_labels(tmp_path):
    write_images(tmp_path / "a", 16), write_images(tmp_path / "b", 8, side=40)
    recipe = chosen(tmp_path)
    assert recipe.fit.name == "self-supervised" and recipe.image_size == 32 and recipe.train.batch_size == 8
    assert recipe.discriminator_view.name == "diff-augment"
    assert recipe.choices == (
        "seen: source 14 colour images of about 60 pixels, no classes; target 7 colour images of about 40 pixels, no classes",
        "chosen: f without labels, on the images of both; images of 32 pixels, batches of 8; D sees augmented images",
    )


def test_inspect_says_what_is_chosen(tmp_path, capsys):
    write_images(tmp_path / "a", 8), write_images(tmp_path / "b", 8)
    changes = [f"source.path={tmp_path / 'a'}", f"target.path={tmp_path / 'b'}"]
    code, out, _ = in_process(capsys, "inspect", "folders-dtn", *changes, "--quick")
    wanted = "chosen: f without labels, on the images of both; images of 64 pixels, batches of 8; D sees augmented images"
    assert code == 0 and f"\n{wanted}\n" in out


def test_d_sees_images_as_they_are_where_there_are_many(tmp_path):
    write_images(tmp_path / "a", 500, side=40), write_images(tmp_path / "b", 500, side=40)
    recipe = chosen(tmp_path)
    assert recipe.discriminator_view is None and recipe.train.batch_size == 16
    assert recipe.choices[1].endswith("images of 32 pixels, batches of 16")


def test_with_classes_f_is_a_classifier_and_changes_win(tmp_path):
    write_images(tmp_path / "a", 24, classes=("cat", "dog")), write_images(tmp_path / "b", 8)
    assert chosen(tmp_path).fit.name == "classifier"
    recipe = chosen(tmp_path, "fit=none", "image_size=96", "train.batch_size=4")
    assert (recipe.fit, recipe.image_size, recipe.train.batch_size) == (None, 96, 4)


def test_a_file_that_extends_it_names_the_folders_and_wins(tmp_path, monkeypatch):
    write_images(tmp_path / "a", 8), write_images(tmp_path / "b", 8, side=40)
    monkeypatch.chdir(tmp_path)
    text = 'extends = "folders-dtn"\nname = "mine"\nsource.path = "a"\ntarget.path = "b"\ntrain.batch_size = 5\n'
    (tmp_path / "mine.toml").write_text(text)
    recipe = find_recipe("mine.toml", registry())
    assert (recipe.name, recipe.image_size, recipe.train.batch_size) == ("mine", 32, 5) and len(recipe.choices) == 2


def test_without_folders_it_says_that_it_has_its_defaults(tmp_path):
    recipe = find_recipe("folders-dtn", registry())
    assert "the defaults, because the source cannot be looked at: the domain 'folder' needs a folder" in recipe.choices[0]
    with pytest.raises(DomtransError, match=r"needs a folder; give it with source.path=FOLDER"):
        train(recipe, tmp_path / "run", device="cpu", registry=registry())


def test_a_run_records_the_choice_and_resumes_with_it(tmp_path):
    write_images(tmp_path / "a", 8), write_images(tmp_path / "b", 8)
    small = SMALL_FOLDERS | {"source.path": str(tmp_path / "a")}
    rng = np.random.default_rng(0)
    target = ImageSet.from_arrays(rng.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8), size=64)
    notes = []
    run = train(
        "folders-dtn",
        tmp_path / "run",
        target=target,
        overrides=small,
        device="cpu",
        registry=registry(),
        listeners=lambda progress: notes.append(progress.note),
    )
    assert run.recipe.choices[0].startswith("seen: source 7 colour images of about 60 pixels")
    assert set(run.recipe.choices) < set(notes)
    assert find_recipe(str(run.path), registry()) == run.recipe
    resumed = override(run.recipe, {"train.steps": 2}, registry())
    assert train(resumed, run.path, target=target, resume=True, device="cpu", registry=registry()).results["steps"] == 2
