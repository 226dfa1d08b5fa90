"""Faces to avatars: attribute encoders and their fits, distances, g and D, and recipes."""

import json
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from commands import domtrans, in_process
from domtrans import Attribute, DomtransError, FrozenEncoder, ImageSet, Session, find_recipe, override, to_float, use
from domtrans.training.experiment import prepare
from domtrans_dtn.fits import HeadTargets, pseudo_label_loss
from domtrans_faces.vocabulary import VOCABULARY
from paths import SHARED
from published_weights import published
from tiny import registry, tiny_trainer

SIZES = [len(values) for values in VOCABULARY.values()]
K = sum(SIZES)
SMALL = {
    "source.count": 16,
    "source.test_count": 8,
    "target.count": 16,
    "target.test_count": 8,
    "encoder.width": 4,
    "encoder.features": 8,
    "fit.steps": 2,
    "fit.batch_size": 4,
    "generator.width": 4,
    "discriminator.width": 4,
    "metrics": {},
    "train.steps": 3,
    "train.batch_size": 4,
    "train.log_every": 1,
    "train.precision": "float32",
}


def encoder(**options):
    torch.manual_seed(0)
    return registry().build("encoder", use("attributes", **{"width": 4, "features": 8} | options), 32, 0)


def faces(n=48, *, known=("skin",)):
    """Plain images whose brightness encodes the skin; the other attributes are unknown (-1)."""
    skin = torch.arange(n) % 3
    shade = torch.tensor([220, 140, 50])[skin]
    pixels = (shade[:, None, None, None] + torch.randint(-20, 20, (n, 3, 32, 32))).to(torch.uint8)
    unknown = torch.full((n,), -1)
    attributes = {name: Attribute(values, skin if name in known else unknown) for name, values in VOCABULARY.items()}
    return ImageSet(pixels, attributes=attributes)


def session():
    return Session.start("cpu", precision="float32")


def fitted(fit, *sets, **options):
    f = encoder(dropout=0.0)
    registry().build("fit", use(fit, steps=60, batch_size=16, lr=5e-3, **options))(f.train(), sets[0], session(), *sets[1:])
    return f.eval()


def skin(f, images):
    with torch.no_grad():
        return f.logits(f(to_float(images.images))).split(SIZES, 1)[0].argmax(1)


# f


@pytest.mark.parametrize("fit", ["classifier", "self-training"])
def test_f_learns_the_known_attributes_of_the_source(fit):
    """Unknown attributes leave the weights finite."""
    sets = [faces()] + ([faces(24).unlabelled()] if fit == "self-training" else [])
    f = fitted(fit, *sets)
    test = faces(24)
    assert (skin(f, test) == test.attributes["skin"].index).float().mean() > 0.9
    assert torch.isfinite(f.head.weight).all()


def test_a_source_without_the_attributes_of_f_is_refused():
    with pytest.raises(DomtransError, match=r"none of the attributes that f predicts \(skin, .*\); use a source"):
        fitted("classifier", faces().unlabelled())
    other = ImageSet(faces().images, attributes={"skin": Attribute(("green", "blue"), torch.zeros(48, dtype=torch.int64))})
    with pytest.raises(DomtransError, match="'skin' of f has the values light, medium, dark, but the source has green, blue"):
        fitted("classifier", other)


def test_missing_attributes_count_as_unknown():
    source = ImageSet(faces().images, attributes={"skin": faces().attributes["skin"]})
    some, all_ = (HeadTargets.of(images, encoder(), torch.device("cpu")) for images in (source, faces()))
    assert torch.equal(some.labels, all_.labels)
    assert (skin(fitted("classifier", source), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


# f on a frozen recogniser


def probe(**options):
    torch.manual_seed(0)
    backbone = {"name": "mobilefacenet", "path": published("mobilefacenet"), "features": "map"}
    return registry().build("encoder", use("attribute-probe", **{"backbone": backbone, "features": 8} | options), 32, 0)


def test_the_backbone_is_loaded_and_frozen():
    f = probe()
    f.load_pretrained()
    weight = f.kept[0].body[0].conv.weight
    assert (
        torch.equal(weight, load_file(published("mobilefacenet"))["0.weight"]) and "kept.0.body.0.conv.weight" in f.state_dict()
    )
    assert not any("kept" in name for name, _ in f.named_parameters())
    before, head = weight.clone(), f.head.weight.detach().clone()
    registry().build("fit", use("probe", steps=2, batch_size=4))(f.train(), faces(8), session())
    assert torch.equal(f.kept[0].body[0].conv.weight, before) and not torch.equal(f.head.weight, head)
    images = to_float(faces(2).images).requires_grad_()
    torch.testing.assert_close(f.eval()(images), f.read(f.kept[0](images)))
    (through,) = torch.autograd.grad(f.kept[0](images).square().sum(), images)
    assert (through.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("view", [None, {"name": "noise", "amount": 0.05}])
def test_a_probe_encodes_every_image_once_per_view(view):
    f = probe(backbone="colour-grid", dropout=0.0)
    batch_sizes = []
    f.kept[0].register_forward_hook(lambda module, images, found: batch_sizes.append(len(found)))
    fit = registry().build("fit", use("probe", steps=200, batch_size=16, lr=1e-2, looks=2 if view else 1, view=view))
    fit(f.train(), faces(), session())
    assert batch_sizes == [48] * (2 if view else 1)
    assert (skin(f.eval(), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


def test_without_a_dense_layer_the_heads_are_linear_in_the_standardised_features_of_the_backbone():
    f, images = probe(backbone="colour-grid", features=0), to_float(faces(8).images)
    f.train()(images)
    found, statistics = f.fixed(images), f.layers[0]
    standardised = (found - statistics.running_mean) / (statistics.running_var + statistics.eps).sqrt()
    f.eval()
    assert f.feature_size == found.shape[1]
    torch.testing.assert_close(f.logits(f(images)), standardised @ f.head.weight.T + f.head.bias)


def test_the_background_is_blurred_and_the_face_is_not():
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    kept, blurred = (
        probe(backbone={"name": "colour-grid", "fields": 16, "crop": 1.0}),
        probe(backbone={"name": "colour-grid", "fields": 16, "crop": 1.0}, background="blur"),
    )
    before, after = (f.fixed(images).view(2, 3, 16, 16) for f in (kept, blurred))
    assert torch.equal(before[..., 5:9, 6:10], after[..., 5:9, 6:10]), "the middle of the face"
    corner = (slice(None), slice(None), slice(0, 3), slice(0, 3))
    assert after[corner].std() < 0.3 * before[corner].std()
    seen = images.requires_grad_()
    (gradient,) = torch.autograd.grad(blurred.fixed(seen).square().sum(), seen)
    assert (gradient.abs().sum((0, 1)) > 0).all(), "g learns about the background, too"


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_a_probe_weighs_rare_values(balance):
    """Images that are all the same leave only the frequencies to learn: three of four are light."""
    images = torch.full((64, 3, 32, 32), 100, dtype=torch.uint8)
    source = ImageSet(images, attributes={"skin": Attribute(VOCABULARY["skin"], (torch.arange(64) % 4 == 0).long())})
    f = probe(backbone="colour-grid", dropout=0.0)
    fit = registry().build("fit", use("probe", steps=200, batch_size=16, lr=3e-2, label_smoothing=0.0, balance=balance))
    fit(f.train(), source, session())
    with torch.no_grad():
        light, medium, _ = f.eval().logits(f(to_float(images[:1])))[0, :3].softmax(0).tolist()
    assert (light, medium) == (pytest.approx(0.5 if balance else 0.75, abs=0.1), pytest.approx(1 - light, abs=0.05))


def test_the_features_beside_are_appended_and_not_used_by_the_heads():
    alone, f = probe(), probe(beside={"name": "colour-grid", "fields": 2})
    f.load_state_dict(alone.state_dict())
    images = to_float(faces(2).images)
    wanted = torch.cat([alone.eval()(images), f.kept[1](images)], 1)
    torch.testing.assert_close(f.eval()(images), wanted)
    assert f.feature_size == 8 + 12 and torch.equal(f.logits(wanted), alone.logits(wanted[:, :8]))


def test_a_probe_fits_an_f_without_frozen_layers():
    f = encoder(dropout=0.0)
    registry().build("fit", use("probe", steps=60, batch_size=16, lr=5e-3))(f.train(), faces(), session())
    assert (skin(f.eval(), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


# Targets of the heads


def test_label_frequencies_ignore_unknown_labels():
    source = faces(10)
    source.attributes["skin"].index[:4] = torch.tensor([-1, -1, 0, 0])
    targets = HeadTargets.of(source, encoder(), torch.device("cpu"))
    index = source.attributes["skin"].index
    wanted = torch.stack([(index == k).sum() / (index >= 0).sum() for k in range(3)])
    equal = targets.equal_frequencies()
    assert torch.allclose(targets.label_frequencies()[:3], wanted) and torch.equal(targets.label_frequencies()[3:], equal[3:])
    assert torch.allclose(targets.equal_frequencies()[:5], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2]))


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_rare_values_count_more_in_a_balanced_loss(balance):
    """Cross-entropy, weighted by one over the frequency of the image's value to the power of ``balance``."""
    source = faces(10)
    known = source.attributes["skin"].index
    known[:] = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, -1])
    targets = HeadTargets.of(source, encoder(), torch.device("cpu"), balance)
    logits = torch.randn(10, K)
    weights = torch.tensor([9 / 6] * 6 + [9 / 2] * 2 + [9.0, 0.0]) ** balance
    losses = F.cross_entropy(logits[:, :3], known.clamp_min(0), reduction="none", label_smoothing=0.1)
    by_hand = (weights[:9] * losses[:9]).sum() / weights[:9].sum()
    assert torch.allclose(targets.loss(logits, torch.arange(10), 0.1), by_hand)


def test_a_deep_f_has_more_convolutions_and_the_same_features():
    plain, deep = encoder(), encoder(depth=2)
    assert [sum(isinstance(layer, torch.nn.Conv2d) for layer in f.layers) for f in (plain, deep)] == [4, 7]
    assert deep(torch.zeros(2, 3, 32, 32)).shape == (2, 8)


def test_only_confident_pseudo_labels_count():
    """Of two images, the teacher is confident of both heads for the first, and of the second head for the second."""
    logits = [torch.randn(2, 3), torch.randn(2, 2)]
    probabilities = [torch.tensor([[0.95, 0.03, 0.02], [0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.9], [1.0, 0.0]])]
    first = F.cross_entropy(logits[0][:1], torch.tensor([0])) / 2
    second = F.cross_entropy(logits[1], torch.tensor([1, 0]))
    assert torch.allclose(pseudo_label_loss(logits, probabilities, 0.9), (first + second) / 2)


def test_the_condition_of_d_has_one_value_per_attribute():
    f = FrozenEncoder(encoder())
    features = torch.randn(5, 8)
    condition = f.class_condition(features)
    logits = f.classify(features).split(SIZES, 1)
    assert f.classes() == K == condition.shape[1]
    for found, logit in zip(condition.split(SIZES, 1), logits, strict=True):
        assert torch.equal(found.argmax(1), logit.argmax(1)) and torch.equal(found.sum(1), torch.ones(5))


def test_balanced_source_batches_need_a_classifier(tmp_path):
    recipe = override(find_recipe("faces-dtn", registry()), SMALL | {"train.balance_source": True}, registry())
    with pytest.raises(DomtransError, match="one classification head"):
        prepare(recipe, registry(), session())


# Distances


def attributes(**options):
    return registry().build("distance", use("attributes", **options))


def test_attributes_is_the_weighted_kl_over_heads():
    """Sum of w KL(softmax(s z_x) || softmax(z_G)), in explicit form."""
    a, b = torch.randn(2, 6, K, generator=torch.Generator().manual_seed(0))
    found = attributes(sharpen=2.0, weights={"skin": 3.0, "brows": 0.0})(a, b, lambda features: features)
    by_hand = torch.zeros(())
    for name, z, y in zip(VOCABULARY, a.split(SIZES, 1), b.split(SIZES, 1), strict=True):
        p, q = (2 * z).softmax(1), y.softmax(1)
        by_hand += {"skin": 3.0, "brows": 0.0}.get(name, 1.0) * (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(found, by_hand, atol=1e-5)


def test_attributes_refuses_other_inputs():
    a = torch.randn(2, 7)
    for classify in (None, lambda features: features):
        with pytest.raises(DomtransError, match="use the encoder 'attributes'"):
            attributes()(a, a, classify)
    with pytest.raises(DomtransError, match="unknown attribute 'nose'"):
        attributes(weights={"nose": 1.0})


def test_perceptual_uses_its_own_network():
    kept = use("perceptual", encoder={"name": "attributes", "width": 4, "features": 8}, distance="cosine")
    one, other = (registry().build("distance", kept) for _ in range(2))
    a, b = torch.rand(2, 4, 1, 32, 32) * 2 - 1
    b.requires_grad_(True)
    value = one(a, b)
    torch.manual_seed(7)
    assert torch.equal(value, other(a, b)), "always the same random layers"
    (gradient,) = torch.autograd.grad(value, b)
    assert gradient.abs().sum() > 0 and one(a, a) < 1e-6 < value
    with pytest.raises(DomtransError, match="compares images"):
        one(torch.zeros(2, 8), torch.zeros(2, 8))


# g and D


@pytest.mark.parametrize(("size", "mixing"), [(64, False), (96, True)])
def test_g_generates_64_pixels_and_resizes_them(size, mixing):
    g = registry().build("generator", use("face-generator", width=4, mixing=mixing), 8, 3, size).train()
    images = g(torch.randn(3, 8))
    assert images.shape == (3, 3, size, size) and images.abs().max() <= 1
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in g.layers) == (6 if mixing else 1)
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in g.layers) == 5


@pytest.mark.parametrize(("size", "norm"), [(64, "spectral"), (96, "batch"), (96, "spectral")])
def test_d_accepts_64_and_96_pixels(size, norm):
    D = registry().build("discriminator", use("face-discriminator", width=4, norm=norm, classes=K), 3, size).eval()  # noqa: N806
    images = torch.rand(2, 3, size, size) * 2 - 1
    condition = torch.zeros(2, K).index_fill_(1, torch.tensor([0, 3]), 1.0)
    layers = D.layers(images)
    assert D(images).shape == (2, 3) and torch.allclose(D(images), layers[:, 0])
    assert torch.allclose(D(images, condition), layers[:, 0] + layers[:, 1] + layers[:, 4], atol=1e-5)


def test_d_refuses_small_images():
    with pytest.raises(DomtransError, match="supports 32 to 1,024 pixels, not 16"):
        registry().build("discriminator", use("face-discriminator"), 3, 16)


# Recipes


def assignments(changes):
    return [f"{path}={value}" for path, value in changes.items()]


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
    few = {key: value for key, value in few_photographs("lfw-looks-dtn").items() if key != "generator.width"}
    few |= {"source.by": [{"name": "avatars", "count": 12, "test_count": 4}]}
    recogniser = {"name": "dlib-resnet", "features": "map", "path": str(RECOGNISERS["lfw-looks-dtn"])}
    paths = {"source.of.path": str(PHOTOGRAPHS), "encoder.of.backbone.encoders": [recogniser, {"name": "colour-grid"}]}
    tiny = {"generator.hidden": 8, "generator.renderer_steps": 2, "generator.renderer_width": 4}
    recipe = override(find_recipe("photo-avatars-dtn", registry()), few | paths | tiny, registry())
    trainer = tiny_trainer(recipe)
    assert trainer.f.feature_size == K and trainer.g.draws_by_parameters
    assert (trainer.f.std > 0).all(), "also of the heads that photographs are not labelled for"
    assert all(torch.isfinite(value) for _ in range(2) for value in trainer.step().values())


# Colours beside a recogniser


def test_the_colour_grid_averages_the_centre_only():
    grid = registry().build("encoder", use("colour-grid", fields=2, crop=0.5), 32, 0)
    image = torch.ones(1, 3, 32, 32)
    image[:, :, 8:24, 8:24] = 0.0
    image[:, 0, 8:16, 16:24] = -0.5
    assert grid.feature_size == 12
    assert torch.allclose(grid(image).view(3, 2, 2)[0], torch.tensor([[0.0, -0.5], [0.0, 0.0]]))
    assert not grid(image).view(3, 4)[1:].any()


def test_an_encoder_without_weights_cannot_be_fitted():
    alone = {"encoder": "colour-grid", "discriminator.classes": 0}
    recipe = override(override(find_recipe("faces-dtn", registry()), SMALL, registry()), alone, registry())
    with pytest.raises(DomtransError, match="the encoder 'colour-grid' has nothing to learn; set fit=none"):
        prepare(recipe, registry(), session())


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
