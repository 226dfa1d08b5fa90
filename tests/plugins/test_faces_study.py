"""The study ``faces``: its rows train, files in a folder add rows, and reproduce writes its tables."""

import json
from functools import partial

import pytest
import torch

from commands import in_process
from domtrans import STRATEGIES, DomtransError
from paths import SHARED
from study_rows import recipe_of, rows_of, study_of
from tiny import tiny_trainer

real = pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the real weights of ../shared/weights are not here")


study, rows = partial(study_of, "faces"), partial(rows_of, "faces")
ROWS = rows(quick=True)


def test_the_study_has_its_documented_rows():
    wanted = "best no-const random-f paper study const-mse const-cosine const-both tid-mse tid-cosine tid-both tid-perceptual"
    wanted += " ternary pixel-colours"
    wanted += " two-g-steps two-d-steps separate-updates d-floor heavy-gan sgd-for-d batch-norm-d const-stop constant-rate"
    wanted += " weight-decay label-smoothing no-average reconstruct-mse reconstruct-cosine reconstruct-both"
    assert list(rows()) == wanted.split() and list(ROWS) == wanted.split()
    assert not any(row.published for row in rows().values())  # the study of 2017 has no numbers for faces


# The strategies are also rows of the study digits; of these only the one with another D.
DISTINCT = [*sorted(set(ROWS) - set(STRATEGIES) - {"const-cosine", "tid-both", "reconstruct-mse"}), "batch-norm-d"]


@pytest.mark.parametrize("name", DISTINCT)
def test_a_row_trains(name):
    trainer = tiny_trainer(recipe_of(ROWS[name], "train.batch_size=4"))
    before = [weight.clone() for weight in trainer.g.parameters()]
    trainer.step_number = 3  # past where the adversarial terms begin
    losses = trainer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.g.parameters(), strict=True))


def test_the_strategies_of_the_study_keep_the_objective_of_the_paper():
    for name in ("ternary", *STRATEGIES):
        recipe = recipe_of(ROWS[name])
        terms = recipe.generator_losses["gan"], recipe.discriminator_losses["gan"]
        assert [term.name for term in terms] == ["ternary-generator", "ternary-discriminator"]
        assert all(term.start == 0.05 for term in terms)


def test_rows_keep_the_shared_settings():
    best = ROWS["best"].changes
    for row in ROWS.values():
        for name, value in best.items():
            assert row.changes[name] == value or (name, row.name) in {("fit.steps", "random-f")}
        assert not row.changes.get("oracle")


def test_a_loaded_f_is_neither_fitted_nor_adapted():
    found = rows(encoder="f.safetensors")
    recipe = recipe_of(found["best"])
    assert (recipe.encoder.weights, recipe.fit, recipe.adapt) == ("f.safetensors", None, None)
    assert recipe_of(found["random-f"]).encoder.weights is None


# Files in a folder


def test_files_in_the_folder_add_rows(tmp_path):
    (tmp_path / "weights").mkdir()
    for file in ("weights/mobilefacenet_192.safetensors", "weights/resnet18-a1.safetensors", "lfw_480ids.zip"):
        (tmp_path / file).touch()
    found = rows(data_dir=str(tmp_path))
    assert {"f-mobilefacenet", "f-timm", "photos-mobilefacenet"} <= set(found) and "f-dlib-resnet" not in found
    recipe = recipe_of(found["f-mobilefacenet"])
    assert recipe.encoder.options["path"].endswith("mobilefacenet_192.safetensors") and recipe.fit is None
    assert recipe.generator_losses["const"].options["distance"]["name"] == "cosine"
    photos = recipe_of(found["photos-mobilefacenet"])
    assert photos.source.name == "lfw" and set(photos.metrics) == {"identity", "likeness", "diversity"}
    (tmp_path / "weights" / "mobilefacenet_192.safetensors").unlink()
    assert "Photographs" not in [table.title for table in study(data_dir=str(tmp_path)).tables]


def test_a_missing_folder_is_a_clear_error(tmp_path):
    with pytest.raises(DomtransError, match="there is no folder"):
        study(data_dir=str(tmp_path / "nowhere"))


@real
def test_a_row_with_real_weights_trains():
    row = rows(data_dir=str(SHARED), quick=True)["photos-dlib-resnet"]
    trainer = tiny_trainer(recipe_of(row, "train.batch_size=2", "source.count=40"))
    assert all(torch.isfinite(value) for value in trainer.step().values())


# From the command line


def test_reproduce_writes_the_tables(tmp_path, capsys):
    out = tmp_path / "study"
    only = ("--only", "best", "--only", "reconstruct-both")
    code, printed, said = in_process(capsys, "reproduce", "faces", "--quick", *only, "--out", out)
    assert code == 0 and "hair colour" in printed, said
    data = json.loads((out / "table.json").read_text())
    measured = {
        (table["title"], row["name"]): row["figures"] for table in data["tables"] for row in table["rows"] if row["seeds"]
    }
    assert ("What f is", "best") in measured and ("Avatars from their own features", "reconstruct-both") in measured
    for figures in measured.values():
        assert set(figures) == {"all attributes", "skin", "hair colour", "glasses", "facial hair", "diversity", "FID"}
    page = (out / "table.md").read_text()
    assert "small variation" in page and (out / "best" / "grid.png").is_file() and "best/grid.png" in page
