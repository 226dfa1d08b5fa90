"""From a recipe to an experiment: f is fitted, cached or loaded, and parts from plugins are checked."""

import pytest
import torch

import domtrans
from domtrans import DomtransError, ImageSet, Outputs, Session, load_encoder, override, train, use
from domtrans.storage.tensors import write_tensors
from domtrans.training import experiment
from paths import SHARED
from tiny import bars, registry, tiny_recipe, tiny_trainer, write_bars
from tiny_runs import prepare

SEED_F = SHARED / "weights" / "seed_f_svhn.safetensors"

# f: fitted, cached, loaded


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """An empty cache, and a recipe whose fits are counted: returns the recipe, its registry and the count."""
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    calls = []

    class Counting:
        @domtrans.hookimpl
        def register(self, registry):
            registry.fit("counted", counted_fit)

    def counted_fit(encoder, source, session, *, nudge: float = 0.1):
        """Add ``nudge`` to every weight."""
        assert encoder.training
        calls.append(nudge)
        with torch.no_grad():
            for weight in encoder.parameters():
                weight.add_(nudge)

    extended = domtrans.load_plugins(Counting()).registry
    return override(tiny_recipe(tmp_path), ["fit=counted"], extended), extended, calls


def test_a_fitted_f_is_reused_until_something_it_depends_on_changes(counted, tmp_path):
    recipe, extended, calls = counted
    first = prepare(recipe, extended).transfer.encoder
    second = prepare(recipe, extended).transfer.encoder
    assert calls == [0.1]
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert not any(w.requires_grad for w in first.parameters()) and not first.encoder.training
    for change in ("fit.nudge=0.2", "seed=5", f"source.path={write_bars(tmp_path / 'other.npz', seed=9)}"):
        prepare(override(recipe, [change], extended), extended)
    assert len(calls) == 4
    for change in ("train.steps=9", "generator.width=8", f"target.path={write_bars(tmp_path / 'o.npz', seed=8, channels=1)}"):
        prepare(override(recipe, [change], extended), extended)
    assert len(calls) == 4


def test_a_damaged_cache_entry_is_made_again(counted, tmp_path):
    recipe, extended, calls = counted
    prepare(recipe, extended)
    (entry,) = (tmp_path / "cache" / "encoders").iterdir()
    entry.write_bytes(entry.read_bytes()[:100])
    prepare(recipe, extended)
    write_tensors(entry, {"other": torch.zeros(1)}, {})
    prepare(recipe, extended)
    assert len(calls) == 3


def test_a_cache_that_cannot_be_written_only_costs_time(counted, tmp_path, monkeypatch):
    recipe, extended, calls = counted
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "file"))
    prepare(recipe, extended)
    prepare(recipe, extended)
    assert len(calls) == 2


def test_f_is_adapted_after_it_was_fitted_or_loaded(counted, tmp_path):
    recipe, extended, calls = counted
    recipe = override(recipe, ["adapt=counted", "adapt.nudge=0.5"], extended)
    fitted = prepare(recipe, extended).transfer.encoder.encoder
    assert calls == [0.1, 0.5]
    weights = tmp_path / "f.safetensors"
    write_tensors(weights, fitted.state_dict(), {})
    loaded = prepare(override(recipe, [f"encoder.weights={weights}"], extended), extended).transfer.encoder.encoder
    assert calls == [0.1, 0.5, 0.5]
    for name, value in fitted.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value + 0.5)


def test_weights_are_loaded_instead_of_a_fit(counted, tmp_path):
    recipe, extended, calls = counted
    torch.manual_seed(7)
    wanted = registry().build("encoder", use("digit-encoder"), 32, 4)
    write_tensors(tmp_path / "f.safetensors", wanted.state_dict(), {})
    found = prepare(override(recipe, [f"encoder.weights={tmp_path / 'f.safetensors'}"], extended), extended)
    assert calls == []
    assert all(torch.equal(a, b) for a, b in zip(found.transfer.encoder.encoder.parameters(), wanted.parameters(), strict=True))


def test_the_f_of_a_run_is_loaded_from_its_folder_or_its_model(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=1)
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    for path in (run.path, run.file):
        f = registry().build("encoder", recipe.encoder, recipe.image_size, 4)
        load_encoder(f, path)
        wanted = run.model.encoder.encoder.state_dict()
        assert f.state_dict().keys() == wanted.keys() and all(
            torch.equal(f.state_dict()[name], wanted[name]) for name in wanted
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("classify.0.bias"), "classify.0.bias is missing from the file"),
        (lambda state: state.update(more=torch.zeros(1)), "more is not expected in the file"),
        (
            lambda state: state.update({"classify.9.bias": torch.zeros(10)}),
            r"classify.9.bias has the shape \[10\] instead of \[4\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(counted, tmp_path, change, message):
    recipe, extended, _ = counted
    state = dict(registry().build("encoder", use("digit-encoder"), 32, 4).state_dict())
    change(state)
    write_tensors(tmp_path / "f.safetensors", state, {})
    with pytest.raises(DomtransError, match=message):
        prepare(override(recipe, [f"encoder.weights={tmp_path / 'f.safetensors'}"], extended), extended)


@pytest.mark.skipif(not SEED_F.is_file(), reason=f"the weights {SEED_F} are not here")
def test_the_f_of_the_earlier_study_loads(tmp_path):
    write_bars(tmp_path / "ten.npz", 20, classes=4)
    recipe = tiny_recipe(
        tmp_path, encoder__weights=str(SEED_F), source={"name": "street-digits", "count": 20, "test_count": 20}
    )
    features = tiny_trainer(recipe).domains["source"].features
    assert features.shape == (20, 128) and torch.isfinite(features).all()


def test_features_that_are_not_finite_are_refused(counted, tmp_path):
    recipe, extended, _ = counted
    with pytest.raises(DomtransError, match="not finite numbers"):
        prepare(override(recipe, ["fit.nudge=1e30"], extended), extended)


def test_a_source_without_labels_is_named_with_what_to_do(tmp_path):
    write_bars(tmp_path / "plain.npz", 20, labelled=False)
    source = {"name": "arrays", "path": str(tmp_path / "plain.npz")}
    recipe = tiny_recipe(tmp_path, source=source, train__balance_source=True)
    with pytest.raises(DomtransError, match=r"the source \(arrays .*\) has no labels.*subfolder, or a label file") as refusal:
        prepare(recipe, registry())
    assert "train.balance_source=false" in str(refusal.value), "and what a training without labels needs"


# Plugins that break their contract


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("domain", lambda split, size: 3, "must return an ImageSet, not int"),
        (
            "domain",
            lambda split, size: ImageSet.from_arrays(bars(4)[0], size=8),
            r"gave \[8, 8\] pixels instead of 32",
        ),
        ("encoder", lambda size, classes: torch.nn.Identity(), "must be a domtrans.Encoder, not Identity"),
        ("generator", lambda feature_size, channels, size: torch.nn.Identity(), "must be a domtrans.Generator"),
        ("discriminator", lambda channels, size: torch.nn.Identity(), "must be a domtrans.Discriminator"),
        ("loss", lambda: torch.nn.Identity(), "must be a domtrans.Loss"),
    ],
)
def test_parts_from_plugins_are_checked(tmp_path, kind, make, message):
    class Wrong:
        @domtrans.hookimpl
        def register(self, registry):
            getattr(registry, kind)("wrong", make)

    extended = domtrans.load_plugins(Wrong()).registry
    path = {"domain": "source", "loss": "generator_losses.extra"}.get(kind, kind)
    with pytest.raises(DomtransError, match=message):
        prepare(override(tiny_recipe(tmp_path), [f"{path}=wrong"], extended), extended)


def test_a_loss_that_reads_an_unknown_field_is_refused(tmp_path):
    class Reader(domtrans.Loss):
        reads = frozenset({"source_fakes"})

        def forward(self, outputs: Outputs):
            return outputs.source_fakes.sum()

    class Plugin:
        @domtrans.hookimpl
        def register(self, registry):
            registry.loss("reader", Reader)

    extended = domtrans.load_plugins(Plugin()).registry
    with pytest.raises(DomtransError, match=r"reads \['source_fakes'\], which Outputs does not have"):
        prepare(override(tiny_recipe(tmp_path), ["generator_losses.extra=reader"], extended), extended)


# Data


@pytest.mark.parametrize("domain", ["source", "target"])
def test_one_training_image_is_too_few(tmp_path, domain):
    path = write_bars(tmp_path / "two.npz", 2, channels=1 if domain == "target" else 3, classes=1)
    changes = {domain: {"name": "arrays", "path": path, "holdout": 0.5}}
    words = rf"the {domain} has 1 training image, and training needs at least 2.*{domain}.holdout"
    with pytest.raises(DomtransError, match=words):
        tiny_trainer(tiny_recipe(tmp_path, **changes))


def test_a_target_that_is_the_source_is_noted(tmp_path):
    notes = []
    recipe = tiny_recipe(tmp_path)
    recipe = recipe.model_copy(update={"target": recipe.source})
    session = Session.start("cpu", precision="float32", listeners=(notes.append,))
    experiment.prepare(recipe, registry(), session)
    assert any("source and target are the same images" in each.note for each in notes)
