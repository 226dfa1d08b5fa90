"""The leak guard: no evaluator, undeclared label or test image reaches training, and results name the supervision."""

import functools

import numpy as np
import pytest
import torch

import domtrans
from domtrans import DomtransError, Evaluator, ImageSet, Loss, find_recipe, override
from domtrans.evaluation.leak_guard import count_repeated, find_held, supervision
from domtrans_digits.networks.dtn import DigitEvaluator
from tiny import bars, registry, tiny_recipe, write_bars
from tiny_runs import go, prepare


class Teacher(Loss):
    """A loss with an evaluator, as in the cross-entropy variant of the study."""

    reads = frozenset({"source_fake", "source_labels"})

    def __init__(self):
        super().__init__()
        self.judges = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.Identity(), DigitEvaluator(1, 4))])

    def forward(self, outputs):
        return torch.nn.functional.cross_entropy(self.judges[0](outputs.source_fake), outputs.source_labels)


class LateTeacher(Loss):
    """The same, but the evaluator is created after the check."""

    reads = frozenset({"source_fake"})

    def forward(self, outputs):
        return DigitEvaluator(1, 4)(outputs.source_fake).square().mean()


class Labelled(Loss):
    reads = frozenset({"source_fake", "source_labels"})

    def forward(self, outputs):
        return (outputs.source_fake.mean((1, 2, 3)) - outputs.source_labels / 4).square().mean()


class Peeping(Loss):
    """Reads labels that it does not declare."""

    reads = frozenset({"source_fake"})

    def forward(self, outputs):
        assert outputs.source_labels is None
        return outputs.source_fake.square().mean()


SHARED = DigitEvaluator(1, 4)


def seen_by_the_evaluator(images, rng):
    """An augmentation that calls an evaluator among the globals of its module."""
    return images + 0 * SHARED(images[:, :1]).sum()


class Parts:
    @domtrans.hookimpl
    def register(self, registry):
        for name, loss in {"teacher": Teacher, "late": LateTeacher, "labelled": Labelled, "peeping": Peeping}.items():
            registry.loss(name, loss)
        registry.augmentation("seen", seen_by_the_evaluator)


@pytest.fixture(scope="module")
def extended():
    return domtrans.load_plugins(Parts()).registry


def train(recipe, extended, out):
    return domtrans.train(recipe, out, device="cpu", registry=extended)


def test_an_evaluator_in_a_loss_is_refused_before_f_is_fitted(tmp_path, extended):
    recipe = override(tiny_recipe(tmp_path), {"generator_losses.extra": "teacher", "fit.steps": 10**6}, extended)
    with pytest.raises(DomtransError, match=r"generator_losses\.extra holds the evaluator DigitEvaluator.*set oracle=true"):
        prepare(recipe, extended)


@pytest.mark.parametrize("place", ["view", "discriminator_view", "source_augmentation", "target_augmentation"])
def test_an_evaluator_behind_an_augmentation_is_refused(tmp_path, extended, place):
    with pytest.raises(DomtransError, match=f"{place} holds the evaluator"):
        prepare(override(tiny_recipe(tmp_path), {place: {"name": "chain", "steps": ["seen"]}}, extended), extended)


def test_an_evaluator_that_is_created_during_training_is_refused_too(tmp_path, extended):
    recipe = override(tiny_recipe(tmp_path), {"generator_losses.extra": "late"}, extended)
    with pytest.raises(DomtransError, match="DigitEvaluator was called while f, g or D is trained"):
        train(recipe, extended, tmp_path / "run")


@pytest.mark.parametrize("name", ["teacher", "late"])
def test_an_oracle_is_allowed_and_its_results_say_so(tmp_path, extended, name):
    recipe = override(tiny_recipe(tmp_path), {"generator_losses.extra": name, "oracle": True}, extended)
    run = train(recipe, extended, tmp_path / "run")
    assert run.results["supervision"] == "supervised: oracle" == run.evaluate()["supervision"]


def test_results_name_the_supervision_of_g(tmp_path, extended):
    assert go(tiny_recipe(tmp_path), tmp_path / "plain").results["supervision"] == "none of the target"
    recipe = override(tiny_recipe(tmp_path), {"generator_losses.extra": "labelled"}, extended)
    run = train(recipe, extended, tmp_path / "labelled")
    assert run.results["supervision"] == "source labels" == run.about["supervision"]


def test_results_say_when_f_is_fitted_on_the_targets_domain():
    """Looked up in the recipe, at any depth; another folder is another domain."""
    said = {}
    for name, target, by in [
        ("drawings", {"name": "avatars", "count": 9}, ["portraits", {"name": "avatars", "count": 5}]),
        ("others", "avatars", ["portraits"]),
        ("folder", {"name": "folder", "path": "b"}, [{"name": "folder", "path": "a"}]),
    ]:
        source = {"name": "extended", "of": "portraits", "by": by}
        changed = override(find_recipe("faces-dtn", registry()), {"source": source, "target": target}, registry())
        said[name] = supervision(changed, [])
        assert supervision(changed.model_copy(update={"fit": None}), []) == "none of the target"
    assert said == {
        "drawings": "labels of the target's domain in the fit of f",
        "others": "none of the target",
        "folder": "none of the target",
    }


def test_a_loss_gets_no_labels_that_it_does_not_declare(tmp_path, extended):
    train(override(tiny_recipe(tmp_path), {"generator_losses.extra": "peeping"}, extended), extended, tmp_path / "run")


def test_a_metric_may_use_an_evaluator(tmp_path):
    run = go(tiny_recipe(tmp_path), tmp_path / "run")
    assert "evaluator_accuracy" in run.results and issubclass(DigitEvaluator, Evaluator)


def closure(evaluator):
    return lambda x: evaluator(x)


class Holder:
    def __init__(self, held):
        self.held = held

    def method(self, x):
        return x


@pytest.mark.parametrize(
    "hide",
    [
        lambda e: e,
        lambda e: torch.nn.Sequential(torch.nn.Sequential(e)),
        lambda e: [{"a": (1, e)}],
        lambda e: functools.partial(print, sep=e),
        lambda e: functools.partial(functools.partial(max, e)),
        closure,
        Holder,
        lambda e: Holder([closure(e)]).method,
        lambda e: lambda x, judge=e: judge(x),
        lambda e: Holder(Holder(Holder(e))),
    ],
)
def test_an_evaluator_is_found_at_any_depth(hide):
    evaluator = DigitEvaluator(1, 2)
    assert find_held(hide(evaluator), Evaluator) is evaluator
    assert find_held(hide(torch.nn.Linear(1, 1)), Evaluator) is None


def test_objects_that_refer_to_each_other_are_visited_once():
    loop = Holder(None)
    loop.held = [loop]
    assert find_held(loop, Evaluator) is None


def test_the_shipped_parts_hold_none(tmp_path):
    assert find_held(prepare(tiny_recipe(tmp_path, "digits-dtn"), registry()), Evaluator) is None


# Test images in training


def test_repeated_images_are_counted_by_their_pixels():
    images = ImageSet.from_arrays(bars(10)[0], size=32)
    other = ImageSet.from_arrays(bars(6, seed=3)[0], size=32)
    assert count_repeated(images, other) == 0
    assert count_repeated(images, ImageSet(torch.cat([other.images, images.images[[2, 2, 5]]]))) == 3
    assert count_repeated(images, ImageSet.from_arrays(bars(4, channels=1)[0], size=32)) == 0


def test_test_images_among_the_training_images_are_counted_in_the_results(tmp_path):
    images, labels = bars(16)
    images[12:] = images[:4]  # all images occur twice, so any test split has repeated images
    np.savez(tmp_path / "twice.npz", images=np.concatenate([images, images]), labels=np.concatenate([labels, labels]))
    notes = []
    recipe = tiny_recipe(tmp_path, source={"name": "arrays", "path": str(tmp_path / "twice.npz"), "holdout": 0.25})
    run = go(recipe, tmp_path / "run", listeners=(lambda progress: notes.append(progress.note),))
    found = run.results["test_images_in_training"]
    assert found["source"] > 0 and found["target"] == 0
    assert [note for note in notes if "test images of the source are among its training images" in note]
    assert go(tiny_recipe(tmp_path), tmp_path / "clean").results["test_images_in_training"] == {"source": 0, "target": 0}


# Selection by test score


def test_test_images_do_not_influence_training_or_model_selection(tmp_path):
    """The last and the best model do not depend on the test split or the metrics."""
    options = {"train__validate_every": 2, "train__ema": 0.0}
    recipe = tiny_recipe(tmp_path, **options)
    one = go(recipe, tmp_path / "one")
    half = {side: {**getattr(recipe, side).model_dump(), "holdout": 0.25} for side in ("source", "target")}
    images, labels = bars(16)
    kept = registry().build("domain", recipe.source, "train", 32)
    here = np.array([any((kept.images == torch.as_tensor(x).permute(2, 0, 1)).flatten(1).all(1)) for x in images])
    images[~here] = 255 - images[~here]
    np.savez(tmp_path / "inverted.npz", images=images, labels=labels)
    half["source"]["path"] = str(tmp_path / "inverted.npz")
    half["target"]["path"] = write_bars(tmp_path / "t.npz", channels=1, seed=1)
    two = go(override(recipe, {**half, "metrics": {}}, registry()), tmp_path / "two")
    for file in ("model.safetensors", "best.safetensors"):
        a, b = (domtrans.load(run.path / file, device="cpu", registry=registry()).model.state_dict() for run in (one, two))
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_that_was_measured_and_trained_on_says_so(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    assert "measured_before_at" not in go(recipe, tmp_path / "run").results
    for steps, before in ((3, [2]), (4, [2, 3])):
        longer = override(recipe, {"train.steps": steps}, registry())
        assert go(longer, tmp_path / "run", resume=True).results["measured_before_at"] == before
