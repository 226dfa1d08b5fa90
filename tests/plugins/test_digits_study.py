"""The study ``digits``: its rows train, its data is found, and its citations are correct."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from domtrans import DomtransError, find_recipe, override
from domtrans.data.domains import load_domain
from domtrans.registry.parts import Part
from domtrans_digits.domains.local_files import find_mnist, find_svhn
from paths import SHARED
from study_rows import recipe_of, rows_of, study_of
from tiny import registry, tiny_trainer

real = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real data of ../shared/data is not here")


study, rows = partial(study_of, "digits"), partial(rows_of, "digits")
ROWS = rows(quick=True)


def test_the_study_has_its_documented_rows():
    wanted = "best mse cross-entropy oracle no-const paper study no-tid no-f-in-g no-d no-const-no-tid baseline original"
    wanted += " as-long spectral-d rates kl-const views even-source learning-f aligned smooth told-d moved-source"
    wanted += " two-g-steps two-d-steps separate-updates d-floor heavy-gan sgd-for-d batch-norm-d const-stop constant-rate"
    wanted += " weight-decay label-smoothing no-average least-squares hinge relativistic r3gan r1 r1-no-norm lecam"
    wanted += " diff-augment adaptive minibatch-deviation two-time-scale feature-d"
    wanted += " unseen-in-source unseen-in-target unseen-in-both"
    assert list(rows()) == wanted.split() and list(ROWS) == wanted.split()


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"original", "cross-entropy"}))
def test_a_row_trains(name):
    few = [
        f"{side}.of.count=40" if "without" in ROWS[name].changes[side] else f"{side}.count=40" for side in ("source", "target")
    ]
    recipe = recipe_of(ROWS[name], *few, "train.batch_size=4", "fit.steps=2", "train.precision=float32")
    if name == "oracle":
        recipe = override(recipe, {"generator_losses.const.steps": 2}, registry())
    trainer = tiny_trainer(recipe)
    before = [weight.clone() for weight in trainer.g.parameters()]
    trainer.step_number = recipe.train.steps // 2  # past where the adversarial terms begin
    losses = trainer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.g.parameters(), strict=True))


def test_rows_keep_the_shared_settings():
    best = {name: json.dumps(value) for name, value in rows()["best"].changes.items()}
    assert recipe_of(rows()["original"]) == recipe_of(rows()["best"])
    for row in rows().values():
        for name, value in best.items():
            if not row.name.startswith("unseen"):
                assert json.dumps(row.changes[name]) == value


PUBLISHED = {
    ("Transfer", "best"): [0.9066, 0.745, 0.815],
    ("Transfer", "no-const"): [0.3255, 0.1885, 0.2206],
    ("Transfer", "oracle"): [0.9109, 0.9692],
    ("Ablations", "best"): [0.9066],
    ("Ablations", "no-tid"): [0.8879],
    ("Ablations", "no-const"): [0.3255],
    ("Ablations", "no-f-in-g"): [0.3690],
    ("Ablations", "no-d"): [0.3470],
    ("Ablations", "no-const-no-tid"): [0.0528],
    ("Ablations", "baseline"): [0.1371],
    ("Ablations", "original"): [0.4006],
    ("Unsupervised domain adaptation", "best"): [0.8444, 0.7972],
}


def test_cited_values_are_the_published_ones():
    found = {(table.title, row.name): [one.value for one in row.published] for table in study().tables for row in table.rows}
    assert {place: found[place] for place in PUBLISHED} == PUBLISHED
    assert all(one.source for table in study().tables for row in table.rows for one in row.published)


def test_domain_adaptation_has_its_own_table():
    for table in study().tables:
        of_adaptation = {column.figure == "adaptation_accuracy" for column in table.columns}
        assert of_adaptation == {table.title == "Unsupervised domain adaptation"}
    assert {one.method for one in study().tables[-1].published} == {
        "SA",
        "DANN",
        "DRCN",
        "ADDA",
        "UNIT",
        "CyCADA",
        "GenToAdapt",
    }


@pytest.mark.parametrize(
    "options", [{}, {"encoder": "f.safetensors"}, {"quick": True}, {"quick": True, "encoder": "f.safetensors"}]
)
def test_the_steps_from_the_paper_end_at_the_best_recipe(options):
    found = rows(**options)
    last, best = (recipe_of(found[name], "generator.width=8", "discriminator.width=8") for name in ("moved-source", "best"))
    assert last == best.model_copy(update={"name": last.name, "description": last.description})


def test_on_real_data_the_best_recipe_is_svhn_dtn(tmp_path):
    (tmp_path / "svhn").mkdir()
    (tmp_path / "svhn" / "svhn_8k.npz").touch()
    write_idx(tmp_path / "mnist")
    for options in ({}, {"encoder": "f.safetensors"}):
        found = rows(data_dir=str(tmp_path), **options)
        assert found["best"].recipe == "svhn-dtn" and found["paper"].recipe == "digits-dtn-paper"
        best, recipe = recipe_of(found["best"]), find_recipe("svhn-dtn", registry())
        assert recipe.fit.name == "each"
        one = Part.model_validate(recipe.fit.options["of"])
        assert (best.fit, best.adapt) == ((None, one) if options else (recipe.fit, None))
        assert best.encoder.name == ("digit-encoder" if options else "ensemble")


def test_only_the_oracle_row_is_supervised():
    for row in rows().values():
        assert bool(row.changes.get("oracle")) == (row.name == "oracle")


@pytest.mark.parametrize(("name", "sides"), [("source", {"source"}), ("target", {"target"}), ("both", {"source", "target"})])
def test_the_unseen_digit_is_left_out_of_the_named_domains(name, sides):
    recipe = recipe_of(ROWS[f"unseen-in-{name}"])
    for side in ("source", "target"):
        labels = load_domain(registry(), getattr(recipe, side), "train", 32).labels
        assert (3 in labels.tolist()) == (side not in sides)
        assert 3 in load_domain(registry(), getattr(recipe, side), "test", 32).labels.tolist()
    measured = ROWS[f"unseen-in-{name}"].measured
    assert ("target" in measured) == ("target" in sides)  # the evaluator is fitted on all digits


def test_a_loaded_f_is_adapted_but_not_fitted():
    found = rows(encoder="f.safetensors")
    best, paper = recipe_of(found["best"]), recipe_of(found["paper"])
    assert best.encoder.weights == paper.encoder.weights == "f.safetensors" and best.fit is paper.fit is None
    assert best.adapt is not None and best.adapt.name == "self-training" and paper.adapt is None
    values = {name: [one.value for one in found[name].published] for name in ("unseen-in-source", "unseen-in-both")}
    assert values == {"unseen-in-source": [0.9333], "unseen-in-both": [0.6002]}  # f was trained on the digit


# Real data in a folder


def write_idx(folder):
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        for what, shape in (("images-idx3", (10, 28, 28)), ("labels-idx1", (10,))):
            head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
            (folder / f"{split}-{what}-ubyte").write_bytes(head + bytes(int(np.prod(shape))))


def test_svhn_prefers_the_extra_part(tmp_path):
    (tmp_path / "svhn").mkdir()
    for part in ("test", "train"):
        (tmp_path / "svhn" / f"{part}_32x32.mat").touch()
    assert find_svhn(tmp_path) == {"name": "svhn", "root": str(tmp_path / "svhn"), "part": "train"}
    (tmp_path / "svhn" / "extra_32x32.mat").touch()
    assert (
        find_svhn(tmp_path) == find_svhn(tmp_path / "svhn") == {"name": "svhn", "root": str(tmp_path / "svhn"), "part": "extra"}
    )


def test_mnist_is_found_in_every_usual_folder(tmp_path):
    for number, place in enumerate(("", "raw", "MNIST/raw", "mnist/MNIST/raw")):
        folder = tmp_path / str(number)
        write_idx(folder / place)
        assert len(load_domain(registry(), Part.model_validate(find_mnist(folder)), "train", 32)) == 10


@pytest.mark.parametrize(("find", "name"), [(find_svhn, "SVHN"), (find_mnist, "MNIST")])
def test_the_error_for_missing_data_lists_the_files(tmp_path, find, name):
    with pytest.raises(DomtransError, match=f"there is no {name} in .*it needs"):
        find(tmp_path)


@real
def test_the_real_data_is_found():
    found = study(data_dir=str(SHARED / "data"), quick=True)
    recipe = recipe_of(next(found.rows()))
    source, target = (load_domain(registry(), part, "train", 32) for part in (recipe.source, recipe.target))
    assert "svhn_8k.npz" in source.about and target.about.startswith("mnist, train split, 60,000 images")
    assert len(source) == len(target) == 300
    whole = load_domain(registry(), Part.model_validate(find_svhn(SHARED / "data")), "test", 32)
    assert len(whole) == 1000 and whole.classes == tuple("0123456789")
