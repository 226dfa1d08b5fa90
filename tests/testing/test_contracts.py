"""Every registered thing against the contract of its kind, whichever plugin brought it."""

import typing

import pytest
import torch
import torch.nn.functional as F

from domtrans import (
    Discriminator,
    DomtransError,
    Encoder,
    FrozenEncoder,
    Generator,
    ImageSet,
    MetricInput,
    NotMeasurableError,
    Session,
    Transfer,
    find_recipe,
    head_sizes,
    train,
    use,
)
from domtrans.evaluation.evaluate import leaves
from domtrans.registry.parts import positional_parameters
from published_weights import needed
from tiny import bars, registry, tiny_recipe, tiny_trainer, write_bars

ALL = list(registry())


CLASSES = [entry.name for entry in ALL if entry.kind == "recipe" and entry.owner != "faces"]  # those: test_faces_training.py


def names(kind):
    return pytest.mark.parametrize("name", registry().names(kind))


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_everything_says_what_it_is(entry):
    assert len(entry.summary) > 15 and entry.summary == entry.summary.strip()
    assert entry.owner in {"dtn", "digits", "encoders", "faces", "files", "trackers"}


# Networks


def encoder_of(name):
    torch.manual_seed(0)
    return FrozenEncoder(registry().build("encoder", use(name, **needed(name)), 32, 10))


@names("encoder")
def test_encoder(name):
    frozen = encoder_of(name)
    f = frozen.encoder
    assert isinstance(f, Encoder) and f.channels in (1, 3)
    for channels in (1, 3):  # the engine converts
        features = frozen(torch.rand(2, channels, 32, 32) * 2 - 1)
        assert features.shape == (2, f.feature_size) == (2, frozen.feature_size)
        assert features.dtype == torch.float32 and torch.isfinite(features).all()
    if frozen.has_head():
        assert frozen.classify(features).shape == (2, sum(head_sizes(f.heads)))


@names("encoder")
def test_the_gradient_runs_through_f_to_the_image_and_stops_at_its_weights(name):
    frozen = encoder_of(name)
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    frozen(images).square().sum().backward()
    assert torch.isfinite(images.grad).all() and (images.grad.abs().sum((1, 2, 3)) > 0).all()
    assert not any(weight.requires_grad or weight.grad is not None for weight in frozen.parameters())


@names("encoder")
def test_f_stays_in_eval_mode(name):
    holder = Transfer(encoder_of(name), registry().build("generator", use("digit-generator", width=4), 128, 1, 32))
    holder.train()
    assert holder.generator.training
    assert not any(module.training for module in holder.encoder.modules())


@names("encoder")
def test_features_are_standardised_over_the_source(name):
    frozen = encoder_of(name)
    images = ImageSet.from_arrays(bars(16)[0], size=32)
    frozen.standardize(images)
    features = frozen.encode(images)
    # A feature that hardly varies over this set keeps a small deviation; none has a large one.
    # A deep f with random weights gives all but the same features for all images: what float32 rounds off is then seen.
    rounded = torch.finfo(torch.float32).eps * (frozen.mean / frozen.std).abs().max()
    assert features.mean(0).abs().max() < 1e-3 + rounded and features.std(0).max() < 1.01
    raw = frozen.encoder(torch.from_numpy(bars(16)[0]).permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(features * frozen.std + frozen.mean, raw, atol=1e-4, rtol=1e-4)
    before = frozen.std.clone()
    frozen.standardize(images)
    torch.testing.assert_close(frozen.std, before, rtol=1e-3, atol=1e-6)


@names("generator")
@pytest.mark.parametrize("channels", [1, 3])
def test_generator(name, channels):
    torch.manual_seed(0)
    g = registry().build("generator", use(name), 24, channels, 32)
    read = (torch.randn(3, 3, 32, 32) if g.reads_images else torch.randn(3, 24) * 5).requires_grad_()
    images = g(read)
    assert isinstance(g, Generator) and images.shape == (3, channels, 32, 32)
    assert images.abs().max() <= 1
    images.square().sum().backward()
    assert read.grad.abs().sum() > 0 and all(weight.grad is not None for weight in g.parameters())


def norms(name):
    """Every value of an option ``norm``, where the discriminator has one."""
    hints = typing.get_type_hints(registry().get("discriminator", name).factory.__init__)
    return typing.get_args(hints["norm"]) if "norm" in hints else [None]


DISCRIMINATORS = [(name, norm) for name in registry().names("discriminator") for norm in norms(name)]


@pytest.mark.parametrize(("name", "norm"), DISCRIMINATORS)
@pytest.mark.parametrize("channels", [1, 3])
def test_discriminator(name, norm, channels):
    torch.manual_seed(0)
    part = use(name) if norm is None else use(name, norm=norm)
    D = registry().build("discriminator", part, channels, 32)  # noqa: N806
    images = (torch.rand(3, channels, 32, 32) * 2 - 1).requires_grad_()
    logits = D(images)
    assert isinstance(D, Discriminator) and logits.shape == (3, 3)
    logits.square().sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["encoder", "generator", "discriminator"])
def test_networks_of_one_size_refuse_another(kind):
    handed = {"encoder": (48, 10), "generator": (24, 1, 48), "discriminator": (1, 48)}[kind]
    for name in (name for name in registry().names(kind) if name.startswith("digit-")):
        with pytest.raises(DomtransError, match="works at 32 pixels, not 48"):
            registry().build(kind, use(name), *handed)


# Fits


@names("fit")
def test_a_fit_lowers_the_loss_of_f(name):
    images, labels = bars(48)
    source = ImageSet.from_arrays(images, labels, size=32)
    target = ImageSet.from_arrays(bars(16, channels=1, seed=1)[0], size=32)
    torch.manual_seed(0)
    f = registry().build("encoder", use("digit-encoder"), 32, 4)
    fit = registry().build("fit", use(name, steps=40, batch_size=16))
    session = Session.start("cpu", precision="float32")
    arguments = [f, source, session] + ([target] if len(positional_parameters(registry().get("fit", name).factory)) == 4 else [])

    def loss():
        with torch.no_grad():
            return F.cross_entropy(f.logits(f(source.images / 127.5 - 1)), source.labels).item()

    before = loss()
    fit(*arguments)
    assert loss() < 0.5 * before


@names("fit")
def test_a_fit_needs_source_labels(name):
    unlabelled = ImageSet.from_arrays(bars(8)[0], size=32)
    fit = registry().build("fit", use(name, steps=1))
    more = [unlabelled] if len(positional_parameters(registry().get("fit", name).factory)) == 4 else []
    with pytest.raises(DomtransError, match="source labels"):
        fit(registry().build("encoder", use("digit-encoder"), 32, 0), unlabelled, Session.start("cpu"), *more)


@names("fit")
def test_target_labels_change_nothing_of_f(name, tmp_path, monkeypatch):
    """f fitted beside a labelled target equals f fitted beside the same target without labels."""
    found = []
    for labelled in (True, False):
        monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / f"cache-{labelled}"))
        recipe = tiny_recipe(tmp_path, fit=name, fit__steps=3, fit__batch_size=4)
        write_bars(tmp_path / "target.npz", channels=1, seed=1, labelled=labelled)
        found.append(tiny_trainer(recipe).f.encoder.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_the_engine_takes_target_labels_away(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    assert trainer.target.labels is None and trainer.source.labels is not None


# Metrics


def metric_input(source_labels=True, target_labels=True, classes=(4, 4)):
    def images(labelled, channels, seed, classes):
        pixels, labels = bars(12, channels=channels, seed=seed, classes=classes)
        return ImageSet.from_arrays(pixels, labels if labelled else None, size=32)

    torch.manual_seed(0)
    g = registry().build("generator", use("digit-generator", width=4), 128, 1, 32)
    transfer = Transfer(encoder_of("digit-encoder"), g).eval()
    target = [images(target_labels, 1, seed, classes[1]) for seed in (1, 2)]
    return MetricInput(transfer, images(source_labels, 3, 0, classes[0]), *target, Session.start("cpu", precision="float32"))


FITTED = {"steps": 3, "batch_size": 4}
METRICS = {"digit-accuracy": FITTED, "digit-realism": FITTED, "adaptation-accuracy": FITTED, "f-consistency": {}}
SIGNED = {"kid"}  # an unbiased estimate may be a hair below its true value of zero


@pytest.mark.parametrize("name", METRICS)  # of faces: see test_faces_metrics.py
def test_a_metric_gives_named_plain_numbers(name):
    results = registry().build("metric", use(name, **METRICS[name]))(metric_input())
    assert results["n"] == 12
    for key, value in results.items():
        assert type(value) in (int, float, list)
        for number in leaves(value):
            assert type(number) in (int, float) and (number >= 0 or key in SIGNED), key
            assert not key.endswith("accuracy") or number <= 1


def test_digit_accuracy_says_what_f_and_the_evaluator_are_worth():
    results = registry().build("metric", use("digit-accuracy", **FITTED))(metric_input())
    assert {"accuracy", "encoder_accuracy", "evaluator_accuracy"} <= set(results)


LACKING = [
    ("digit-accuracy", {"source_labels": False}),
    ("digit-accuracy", {"target_labels": False}),
    ("digit-accuracy", {"classes": (4, 2)}),
    ("digit-realism", {"target_labels": False}),
    ("adaptation-accuracy", {"source_labels": False}),
    ("adaptation-accuracy", {"target_labels": False}),
    ("adaptation-accuracy", {"classes": (4, 2)}),
]


@pytest.mark.parametrize(("name", "lacking"), LACKING)
def test_a_metric_says_what_it_cannot_measure(name, lacking):
    with pytest.raises(NotMeasurableError):
        registry().build("metric", use(name, steps=1))(metric_input(**lacking))


def test_the_evaluator_learns_to_read_bars():
    assert (
        registry().build("metric", use("digit-accuracy", steps=60, batch_size=12))(metric_input())["evaluator_accuracy"] == 1.0
    )


# Recipes

VARIANTS = {
    "as it is": {},
    "separate updates": {"train__updates": "separate"},
    "more turns": {"train__generator_steps": 2, "train__discriminator_steps": 2},
    "more turns of g": {"train__generator_steps": 2},
    "D never steps": {"train__discriminator_floor": 100.0},
    "sgd": {"train__generator_optimizer__name": "sgd", "train__discriminator_optimizer__name": "sgd"},
    "adamw": {"train__generator_optimizer": {"name": "adamw", "weight_decay": 0.01}},
    "no average": {"train__ema": 0},
    "balanced source": {"train__balance_source": True},
    "bf16": {"train__precision": "bf16"},
    "augmented": {"source_augmentation": "warp", "target_augmentation": "noise", "view": "paint", "discriminator_view": "blur"},
    "tv": {"generator_losses__tv": {"name": "total-variation", "weight": 0.001}},
    "weighted": {"generator_losses__const__distance": "weighted"},
    "no D": {"discriminator_losses__gan": None, "generator_losses__gan": None},
    "batch norm": {"discriminator__norm": "batch", "train__updates": "separate"},
    "RGB target": {"target": {"name": "street-digits", "count": 20, "test_count": 10}, "metrics": {}},
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_recipe_takes_two_steps_whatever_is_changed(tmp_path, name, variant):
    recipe = tiny_recipe(tmp_path, name, **({"train__steps": 2} | VARIANTS[variant]))
    trainer = tiny_trainer(recipe)
    before = {key: value.clone() for key, value in trainer.g.named_parameters()}
    D_before = [value.clone() for value in trainer.D.parameters()]  # noqa: N806
    losses = trainer.step() | trainer.step()
    wanted = {f"generator.{key}" for key in recipe.generator_losses}
    wanted |= {f"discriminator.{key}" for key in recipe.discriminator_losses}
    assert {key for key in losses if not key.startswith("health.")} == wanted
    assert all(value.shape == () and torch.isfinite(value) for value in losses.values())
    moved = [key for key, value in trainer.g.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) == len(before)
    D_moved = any(not torch.equal(a, b) for a, b in zip(D_before, trainer.D.parameters(), strict=True))  # noqa: N806
    assert D_moved == (variant not in {"D never steps", "no D"})


@names("recipe")
def test_every_recipe_is_complete(name):
    recipe = find_recipe(name, registry())
    assert recipe.name == name and recipe.description
    assert recipe.metrics


@pytest.mark.parametrize("name", CLASSES)
def test_every_recipe_trains_and_is_measured(tmp_path, name):
    recipe = tiny_recipe(tmp_path, name, train__steps=2)
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    assert run.results["steps"] == 2 and run.results["n"] == 4
    assert "arrays" in run.results["source"] and run.results["device"] == "cpu" and run.results["precision"] == "float32"
    assert set(run.results["seconds"]) == {"data_and_encoder", "training", "evaluation"}
    assert "not_measured" not in run.results
