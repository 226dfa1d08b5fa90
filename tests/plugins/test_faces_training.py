"""Recipes of faces: they train, name what is missing, and refuse parts that do not fit."""

import json
from importlib.util import find_spec

import pytest
import torch

from commands import domtrans, in_process
from domtrans import DomtransError, Session, find_recipe, override
from domtrans.training.experiment import prepare
from paths import SHARED
from small_faces import SMALL, K, assignments
from tiny import registry, tiny_trainer


def session():
    return Session.start("cpu", precision="float32")


def test_faces_dtn_trains_from_the_command_line(tmp_path):
    measured = {"metrics": json.dumps({"mine": {"name": "attribute-agreement", "steps": 2, "batch_size": 4}})}
    done = domtrans("train", "faces-dtn", *assignments(SMALL | measured), "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["steps"] == 3 and results["supervision"] == "none of the target"
    assert 0 <= results["skin_balanced_accuracy"] <= 1


@pytest.mark.parametrize("name", ["faces-dtn-paper", "faces-reconstruct"])
def test_the_papers_recipes_train_g_and_d(name):
    trainer = tiny_trainer(override(find_recipe(name, registry()), SMALL, registry()))
    before = [p.clone() for p in (*trainer.g.parameters(), *trainer.D.parameters())]
    losses = trainer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    after = (*trainer.g.parameters(), *trainer.D.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert ("generator.const" in losses) == (name == "faces-dtn-paper")


@pytest.mark.parametrize("distance", ["cosine", "weighted"])
def test_the_distances_of_the_study_can_be_selected(distance):
    changes = SMALL | {"generator_losses.tid.distance": distance, "train.steps": 1}
    trainer = tiny_trainer(override(find_recipe("faces-reconstruct", registry()), changes, registry()))
    assert torch.isfinite(trainer.step()["generator.tid"])


def test_reconstruction_has_no_const_loss():
    paper, alone = (find_recipe(name, registry()).generator_losses for name in ("faces-dtn-paper", "faces-reconstruct"))
    assert "const" not in alone and alone["tid"].weight == 10 * paper["tid"].weight


def test_the_const_loss_of_lfw_dtn_falls():
    small = {path: value for path, value in SMALL.items() if not path.startswith(("encoder", "fit"))}
    few = {"source": "portraits", "encoder": "colour-grid", "image_size": 32} | small
    recipe = override(find_recipe("lfw-dtn", registry()), few | {"train.steps": 30, "train.batch_size": 8}, registry())
    trainer = tiny_trainer(recipe)
    losses = [trainer.step() for _ in range(30)]
    const = torch.stack([loss["generator.const"] for loss in losses if "generator.const" in loss])
    start = recipe.generator_losses["const"].start
    assert start > 0 and len(const) == sum(step / 30 >= start for step in range(30))  # it begins after a share of the steps
    assert const[-5:].mean() < 0.5 * const[:5].mean()


def test_balanced_source_batches_need_a_classifier(tmp_path):
    recipe = override(find_recipe("faces-dtn", registry()), SMALL | {"train.balance_source": True}, registry())
    with pytest.raises(DomtransError, match="one classification head"):
        prepare(recipe, registry(), session())


def test_an_encoder_without_weights_cannot_be_fitted():
    alone = {"encoder": "colour-grid", "discriminator.classes": 0}
    recipe = override(override(find_recipe("faces-dtn", registry()), SMALL, registry()), alone, registry())
    with pytest.raises(DomtransError, match="the encoder 'colour-grid' has nothing to learn; set fit=none"):
        prepare(recipe, registry(), session())


# Recipes of photographs

PHOTOGRAPHS = SHARED / "data/lfw/lfw_480ids_160px.zip"
RECOGNISERS = {
    "lfw-dtn": SHARED / "weights/mobilefacenet_192.safetensors",
    "lfw-looks-dtn": SHARED / "weights/dlib_resnet128.safetensors",
}
NEEDS_FACES = pytest.mark.skipif(
    not all(path.is_file() for path in (PHOTOGRAPHS, *RECOGNISERS.values())), reason="the faces of ../shared are not here"
)
OF_PHOTOGRAPHS = {"lfw-dtn": ("source.path", "encoder.path"), "lfw-looks-dtn": ("source.of.path", "encoder.backbone.path")}


def few_photographs(recipe):
    """Changes that make a recipe of photographs small, without the paths of its files."""
    photographs, _ = OF_PHOTOGRAPHS[recipe]
    few = {photographs.replace("path", "count"): 20}
    if recipe == "lfw-looks-dtn":
        few |= {"source.by": '[{"name": "portraits", "count": 12, "test_count": 4}]', "fit.steps": 2, "fit.batch_size": 4}
    return few | {key: value for key, value in SMALL.items() if key.startswith(("target", "train", "gen", "disc", "metrics"))}


@NEEDS_FACES
@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("recipe", OF_PHOTOGRAPHS)
def test_recipes_of_photographs_name_missing_files(recipe, missing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, find=find_spec: None if "face" in name else find(name))
    path = OF_PHOTOGRAPHS[recipe][1 - missing]
    given = assignments({path: (RECOGNISERS[recipe], PHOTOGRAPHS)[missing]} | few_photographs(recipe))
    code, _, stderr = in_process(capsys, "train", recipe, *given, "--out", tmp_path / "run")
    assert code == 2 and "error: " in stderr and "Traceback" not in stderr
    extra = "pip install 'domtrans[faces]'"
    assert ("set its path", {"lfw-dtn": "encoder.path", "lfw-looks-dtn": extra}[recipe])[missing] in stderr


@NEEDS_FACES
def test_lfw_looks_dtn_trains_and_is_measured(capsys, tmp_path):
    given = few_photographs("lfw-looks-dtn") | {
        "source.of.path": PHOTOGRAPHS,
        "encoder.backbone.path": RECOGNISERS["lfw-looks-dtn"],
    }
    given |= {"source.of.count": 60, "metrics": '{"reading": {"name": "f-reading"}}'}
    code, _, stderr = in_process(capsys, "train", "lfw-looks-dtn", *assignments(given), "--out", tmp_path / "run")
    assert code == 0, stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "f_glasses_source_accuracy" in results and "f_glasses_target_accuracy" in results


@NEEDS_FACES
def test_photo_avatars_dtn_draws_photographs_by_parameters(tmp_path):
    left_out = ("generator.width", "fit.steps", "fit.batch_size")
    few = {key: value for key, value in few_photographs("lfw-looks-dtn").items() if key not in left_out}
    few |= {"source.by": [{"name": "avatars", "count": 12, "test_count": 4}], "source.of.path": str(PHOTOGRAPHS)}
    recogniser = {"name": "dlib-resnet", "features": "map", "path": str(RECOGNISERS["lfw-looks-dtn"])}
    seen = {"name": "concat", "encoders": [recogniser, {"name": "colour-grid"}]}
    linear = {"name": "attribute-probe", "backbone": seen, "features": 0}
    few |= {"encoder.of.encoders": [linear, {"name": "attributes", "width": 4}]}
    few |= {"fit.fits": [{"name": name, "steps": 2, "batch_size": 4} for name in ("probe", "classifier")]}
    tiny = {"generator.hidden": 8, "generator.renderer_steps": 2, "generator.renderer_width": 4}
    recipe = override(find_recipe("photo-avatars-dtn", registry()), few | tiny, registry())
    trainer = tiny_trainer(recipe)
    assert trainer.f.feature_size == K and trainer.g.draws_by_parameters
    assert (trainer.f.std > 0).all(), "also of the heads that photographs are not labelled for"
    assert all(torch.isfinite(value) for _ in range(2) for value in trainer.step().values())
