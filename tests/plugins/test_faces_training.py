"""Faces to avatars: f that tells attributes, what is made of its answers, g and D of faces, and their recipes."""

import json

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
    """Plain images whose brightness is the skin; what is not known of the rest is -1."""
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
def test_f_learns_the_attributes_that_the_source_knows(fit):
    """And nothing of those it does not know: no image says anything of them."""
    sets = [faces()] + ([faces(24).unlabelled()] if fit == "self-training" else [])
    f = fitted(fit, *sets)
    test = faces(24)
    assert (skin(f, test) == test.attributes["skin"].index).float().mean() > 0.9
    assert torch.isfinite(f.head.weight).all()


def test_a_source_without_attributes_is_refused_in_one_sentence():
    with pytest.raises(DomtransError, match=r"none of the attributes that f predicts \(skin, .*\); use a source"):
        fitted("classifier", faces().unlabelled())
    other = ImageSet(faces().images, attributes={"skin": Attribute(("green", "blue"), torch.zeros(48, dtype=torch.int64))})
    with pytest.raises(DomtransError, match="'skin' has the values light, medium, dark in f, but green, blue in the source"):
        fitted("classifier", other)


def test_attributes_that_the_source_does_not_have_are_unknown():
    source = ImageSet(faces().images, attributes={"skin": faces().attributes["skin"]})
    some, all_ = (HeadTargets.of(images, encoder(), torch.device("cpu")) for images in (source, faces()))
    assert torch.equal(some.labels, all_.labels)
    assert (skin(fitted("classifier", source), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


# f on a fixed recogniser


def probe(**options):
    torch.manual_seed(0)
    backbone = {"name": "mobilefacenet", "path": published("mobilefacenet"), "features": "map"}
    return registry().build("encoder", use("attribute-probe", **{"backbone": backbone, "features": 8} | options), 32, 0)


def test_the_backbone_is_read_and_never_trained():
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
def test_a_probe_looks_at_every_image_once_and_learns_its_attributes(view):
    f = probe(backbone="colour-grid", dropout=0.0)
    seen = []
    f.kept[0].register_forward_hook(lambda module, images, found: seen.append(len(found)))
    fit = registry().build("fit", use("probe", steps=200, batch_size=16, lr=1e-2, looks=2 if view else 1, view=view))
    fit(f.train(), faces(), session())
    assert seen == [48] * (2 if view else 1)
    assert (skin(f.eval(), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


def test_what_stands_beside_is_fs_too_and_not_read_by_the_heads():
    alone, f = probe(), probe(beside={"name": "colour-grid", "fields": 2})
    f.load_state_dict(alone.state_dict())
    images = to_float(faces(2).images)
    wanted = torch.cat([alone.eval()(images), f.kept[1](images)], 1)
    torch.testing.assert_close(f.eval()(images), wanted)
    assert f.feature_size == 8 + 12 and torch.equal(f.logits(wanted), alone.logits(wanted[:, :8]))


def test_an_f_without_fixed_layers_is_fitted_on_the_images():
    f = encoder(dropout=0.0)
    registry().build("fit", use("probe", steps=60, batch_size=16, lr=5e-3))(f.train(), faces(), session())
    assert (skin(f.eval(), faces(24)) == faces(24).attributes["skin"].index).float().mean() > 0.9


# What f is asked


def test_shares_are_those_of_the_answers_that_are_known():
    source = faces(10)
    source.attributes["skin"].index[:4] = torch.tensor([-1, -1, 0, 0])
    asked = HeadTargets.of(source, encoder(), torch.device("cpu"))
    index = source.attributes["skin"].index
    wanted = torch.stack([(index == k).sum() / (index >= 0).sum() for k in range(3)])
    equal = asked.equal_frequencies()
    assert torch.allclose(asked.label_frequencies()[:3], wanted) and torch.equal(asked.label_frequencies()[3:], equal[3:])
    assert torch.allclose(asked.equal_frequencies()[:5], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2]))


def test_only_sure_answers_count():
    """By hand: of two images the first is sure of both questions, the second of the second question alone."""
    logits = [torch.randn(2, 3), torch.randn(2, 2)]
    answers = [torch.tensor([[0.95, 0.03, 0.02], [0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.9], [1.0, 0.0]])]
    first = F.cross_entropy(logits[0][:1], torch.tensor([0])) / 2
    second = F.cross_entropy(logits[1], torch.tensor([1, 0]))
    assert torch.allclose(pseudo_label_loss(logits, answers, 0.9), (first + second) / 2)


def test_what_d_is_told_says_one_thing_of_every_attribute():
    f = FrozenEncoder(encoder())
    features = torch.randn(5, 8)
    told = f.class_condition(features)
    logits = f.classify(features).split(SIZES, 1)
    assert f.classes() == K == told.shape[1]
    for found, logit in zip(told.split(SIZES, 1), logits, strict=True):
        assert torch.equal(found.argmax(1), logit.argmax(1)) and torch.equal(found.sum(1), torch.ones(5))


def test_source_images_cannot_be_balanced_over_attributes(tmp_path):
    recipe = override(find_recipe("faces-dtn", registry()), SMALL | {"train.balance_source": True}, registry())
    with pytest.raises(DomtransError, match="one classification head"):
        prepare(recipe, registry(), session())


# Distances


def attributes(**options):
    return registry().build("distance", use("attributes", **options))


def test_attributes_are_compared_head_by_head():
    """Sum of w KL(softmax(s z_x) || softmax(z_G)), as written out by hand."""
    a, b = torch.randn(2, 6, K, generator=torch.Generator().manual_seed(0))
    found = attributes(sharpen=2.0, weights={"skin": 3.0, "brows": 0.0})(a, b, lambda features: features)
    by_hand = torch.zeros(())
    for name, z, y in zip(VOCABULARY, a.split(SIZES, 1), b.split(SIZES, 1), strict=True):
        p, q = (2 * z).softmax(1), y.softmax(1)
        by_hand += {"skin": 3.0, "brows": 0.0}.get(name, 1.0) * (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(found, by_hand, atol=1e-5)


def test_nothing_but_attributes_can_be_compared_so():
    a = torch.randn(2, 7)
    for classify in (None, lambda features: features):
        with pytest.raises(DomtransError, match="take the encoder 'attributes'"):
            attributes()(a, a, classify)
    with pytest.raises(DomtransError, match="no attribute 'nose'"):
        attributes(weights={"nose": 1.0})


def test_perceptual_sees_by_a_network_of_its_own():
    kept = use("perceptual", encoder={"name": "attributes", "width": 4, "features": 8}, distance="cosine")
    one, other = (registry().build("distance", kept) for _ in range(2))
    a, b = torch.rand(2, 4, 1, 32, 32) * 2 - 1
    b.requires_grad_(True)
    value = one(a, b)
    torch.manual_seed(7)
    assert torch.equal(value, other(a, b)), "the same layers whenever they are made"
    (gradient,) = torch.autograd.grad(value, b)
    assert gradient.abs().sum() > 0 and one(a, a) < 1e-6 < value
    with pytest.raises(DomtransError, match="compares images"):
        one(torch.zeros(2, 8), torch.zeros(2, 8))


# g and D


@pytest.mark.parametrize(("size", "mixing"), [(64, False), (96, True)])
def test_g_draws_64_pixels_and_enlarges_them(size, mixing):
    g = registry().build("generator", use("face-generator", width=4, mixing=mixing), 8, 3, size).train()
    images = g(torch.randn(3, 8))
    assert images.shape == (3, 3, size, size) and images.abs().max() <= 1
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in g.layers) == (6 if mixing else 1)
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in g.layers) == 5


@pytest.mark.parametrize(("size", "norm"), [(64, "spectral"), (96, "batch"), (96, "spectral")])
def test_d_judges_64_and_96_pixels(size, norm):
    judge = registry().build("discriminator", use("face-discriminator", width=4, norm=norm, classes=K), 3, size).eval()
    images = torch.rand(2, 3, size, size) * 2 - 1
    told = torch.zeros(2, K).index_fill_(1, torch.tensor([0, 3]), 1.0)
    layers = judge.layers(images)
    assert judge(images).shape == (2, 3) and torch.allclose(judge(images), layers[:, 0])
    assert torch.allclose(judge(images, told), layers[:, 0] + layers[:, 1] + layers[:, 4], atol=1e-5)


def test_d_refuses_images_that_it_cannot_halve_so_often():
    with pytest.raises(DomtransError, match="32 pixels or more, not 16"):
        registry().build("discriminator", use("face-discriminator"), 3, 16)


# Recipes


def assignments(changes):
    return [f"{path}={value}" for path, value in changes.items()]


def test_the_default_recipe_trains_from_the_command_line_and_is_measured(tmp_path):
    measured = {"metrics": json.dumps({"mine": {"name": "attribute-agreement", "steps": 2, "batch_size": 4}})}
    done = domtrans("train", "faces-dtn", *assignments(SMALL | measured), "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["steps"] == 3 and results["supervision"] == "none of the target"
    assert 0 <= results["skin_balanced_accuracy"] <= 1


@pytest.mark.parametrize("name", ["faces-dtn-paper", "faces-reconstruct"])
def test_recipes_of_the_paper_move_g_and_d(name):
    trainer = tiny_trainer(override(find_recipe(name, registry()), SMALL, registry()))
    before = [p.clone() for p in (*trainer.g.parameters(), *trainer.D.parameters())]
    losses = trainer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    after = (*trainer.g.parameters(), *trainer.D.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert ("generator.const" in losses) == (name == "faces-dtn-paper")


@pytest.mark.parametrize("distance", ["cosine", "weighted"])
def test_the_distances_of_the_study_are_a_switch(distance):
    changes = SMALL | {"generator_losses.tid.distance": distance, "train.steps": 1}
    trainer = tiny_trainer(override(find_recipe("faces-reconstruct", registry()), changes, registry()))
    assert torch.isfinite(trainer.step()["generator.tid"])


def test_reconstruction_looks_at_no_feature():
    paper, alone = (find_recipe(name, registry()).generator_losses for name in ("faces-dtn-paper", "faces-reconstruct"))
    assert "const" not in alone and alone["tid"].weight == 10 * paper["tid"].weight


PHOTOGRAPHS, RECOGNISER = SHARED / "data/lfw/lfw_480ids_160px.zip", SHARED / "weights/mobilefacenet_192.safetensors"
NEEDS_FACES = pytest.mark.skipif(
    not (PHOTOGRAPHS.is_file() and RECOGNISER.is_file()), reason="the faces of ../shared are not here"
)
OF_PHOTOGRAPHS = {"lfw-dtn": ("source.path", "encoder.path"), "lfw-looks-dtn": ("source.of.path", "encoder.backbone.path")}


def few_photographs(recipe):
    """Changes that make a recipe of photographs small, but for the paths of what it needs."""
    photographs, _ = OF_PHOTOGRAPHS[recipe]
    few = {photographs.replace("path", "count"): 20}
    if recipe == "lfw-looks-dtn":
        few |= {"source.by": '[{"name": "portraits", "count": 12, "test_count": 4}]', "fit.steps": 2, "fit.batch_size": 4}
    return few | {key: value for key, value in SMALL.items() if key.startswith(("target", "train", "gen", "disc", "metrics"))}


@NEEDS_FACES
@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("recipe", OF_PHOTOGRAPHS)
def test_photographs_need_files_that_are_named(recipe, missing, capsys, tmp_path):
    path = OF_PHOTOGRAPHS[recipe][1 - missing]
    given = assignments({path: (RECOGNISER, PHOTOGRAPHS)[missing]} | few_photographs(recipe))
    code, _, stderr = in_process(capsys, "train", recipe, *given, "--out", tmp_path / "run")
    assert code == 2 and "error: " in stderr and "Traceback" not in stderr
    assert ("set its path", "encoder.path")[missing] in stderr


@NEEDS_FACES
def test_photographs_are_drawn_by_what_f_reads_in_them(capsys, tmp_path):
    given = few_photographs("lfw-looks-dtn") | {"source.of.path": PHOTOGRAPHS, "encoder.backbone.path": RECOGNISER}
    given |= {"source.of.count": 60, "metrics": '{"reading": {"name": "f-reading"}}'}
    code, _, stderr = in_process(capsys, "train", "lfw-looks-dtn", *assignments(given), "--out", tmp_path / "run")
    assert code == 0, stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "f_glasses_source_accuracy" in results and "f_glasses_target_accuracy" in results


# What a recogniser overlooks


def test_the_colour_grid_sees_the_middle_and_nothing_around_it():
    grid = registry().build("encoder", use("colour-grid", fields=2, crop=0.5), 32, 0)
    image = torch.ones(1, 3, 32, 32)
    image[:, :, 8:24, 8:24] = 0.0
    image[:, 0, 8:16, 16:24] = -0.5
    assert grid.feature_size == 12
    assert torch.allclose(grid(image).view(3, 2, 2)[0], torch.tensor([[0.0, -0.5], [0.0, 0.0]]))
    assert not grid(image).view(3, 4)[1:].any()


def test_what_has_nothing_to_learn_is_not_fitted():
    alone = {"encoder": "colour-grid", "discriminator.classes": 0}
    recipe = override(override(find_recipe("faces-dtn", registry()), SMALL, registry()), alone, registry())
    with pytest.raises(DomtransError, match="the encoder 'colour-grid' has nothing to learn; set fit=none"):
        prepare(recipe, registry(), session())


def test_lfw_dtn_teaches_g_to_draw_what_f_tells_apart():
    small = {path: value for path, value in SMALL.items() if not path.startswith(("encoder", "fit"))}
    few = {"source": "portraits", "encoder": "colour-grid", "image_size": 32} | small
    recipe = override(find_recipe("lfw-dtn", registry()), few | {"train.steps": 30, "train.batch_size": 8}, registry())
    trainer = tiny_trainer(recipe)
    losses = [trainer.step() for _ in range(30)]
    const = torch.stack([loss["generator.const"] for loss in losses if "generator.const" in loss])
    start = recipe.generator_losses["const"].start
    assert start > 0 and len(const) == sum(step / 30 >= start for step in range(30))  # it begins when g has begun to draw
    assert const[-5:].mean() < 0.5 * const[:5].mean()
