"""The digit metrics on synthetic transfers with known results: perfect, collapsed, one image per digit, random."""

import json

import pytest
import torch
from torch import nn

import domtrans
from domtrans import FrozenEncoder, ImageSet, MetricInput, NotMeasurableError, Session, Transfer, use
from domtrans.data.domains import load_domain
from domtrans.evaluation.evaluate import leaves, plain_numbers
from domtrans.evaluation.evaluators import view_key
from domtrans.evaluation.realism import frechet_distance, kernel_distance
from made_up_transfers import Headless, ImageFunction
from run_results import change_results
from tiny import bars, registry, tiny_recipe
from tiny_runs import go

FITTED = {"steps": 70, "batch_size": 32}


@pytest.fixture(scope="module")
def handwriting():
    """A thousand real digits for training, 333 for testing, and 333 others in RGB as the source."""
    train, rest = (load_domain(registry(), use("mnist-5k"), split, 32) for split in ("train", "test"))
    train = train.take(torch.arange(0, 4000, 4))
    test, source = rest.take(torch.arange(0, 999, 3)), rest.take(torch.arange(1, 1000, 3))
    return train, test, ImageSet(source.images.expand(-1, 3, -1, -1).contiguous(), source.labels, source.classes)


@pytest.fixture(scope="module")
def measured(handwriting):
    """The results of each synthetic G."""
    train, test, source = handwriting
    found: dict[str, dict] = {}
    one = train.images[500:501] / 127.5 - 1
    firsts = torch.stack([train.images[train.labels == digit][0] for digit in range(10)]) / 127.5 - 1
    known = {image.numpy().tobytes(): int(label) for image, label in zip(source.images[:, :1], source.labels, strict=True)}

    def label_of(images):
        pixels = ((images + 1) * 127.5).round().to(torch.uint8)
        return torch.tensor([known[image.numpy().tobytes()] for image in pixels])

    draws = {
        "perfect": lambda images: images,
        "collapsed": lambda images: one.expand(len(images), -1, -1, -1),
        "one per digit": lambda images: firsts[label_of(images)],
        "random": lambda images: images.roll(37, 0),  # a digit unrelated to x
        "noise": lambda images: torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1,
    }
    session = Session.start("cpu", precision="float32").during("evaluate")
    for name, draw in draws.items():
        inputs = MetricInput(Transfer(FrozenEncoder(Headless()), ImageFunction(draw)).eval(), source, train, test, session)
        found[name] = {}
        for metric in ["digit-accuracy", "digit-realism"] + ["adaptation-accuracy"] * (name in ("perfect", "random")):
            figures = plain_numbers(registry().build("metric", use(metric, **FITTED))(inputs), metric)
            assert figures.pop("n") == 333
            found[name] |= figures
    return found


def test_a_perfect_transfer_scores_like_real_digits(measured):
    found = measured["perfect"]
    assert found["evaluator_accuracy"] > 0.9 and abs(found["accuracy"] - found["evaluator_accuracy"]) < 0.06
    assert found["fid"] < 0.1 * measured["noise"]["fid"] and abs(found["kid"]) < 0.02 * measured["noise"]["kid"]
    assert 0.9 < found["diversity"] < 1.1 and 0.85 < found["class_diversity"] < 1.15
    assert found["adaptation_accuracy"] > 0.6  # 333 images to learn from


def test_a_collapsed_g_is_detected(measured):
    found = measured["collapsed"]
    assert found["accuracy"] == pytest.approx(0.1, abs=0.02)
    assert found["diversity"] == 0 and found["class_diversity"] == 0
    assert found["fid"] > 5 * measured["perfect"]["fid"] and found["kid"] > 0
    assert sorted(sum(row) for row in zip(*found["confusion"], strict=True))[:-1] == [0] * 9  # all read as one digit


def test_a_g_with_one_image_per_digit_is_detected(measured):
    found = measured["one per digit"]
    assert found["accuracy"] > 0.9 and found["diversity"] > 0.8
    assert found["class_diversity"] < 0.1  # which accuracy and overall diversity do not show


def test_a_random_transfer_is_realistic_and_wrong(measured):
    found = measured["random"]
    assert found["accuracy"] < 0.3 and found["fid"] == pytest.approx(measured["perfect"]["fid"], rel=1e-3)
    assert found["diversity"] == pytest.approx(measured["perfect"]["diversity"], abs=0.01)
    assert found["adaptation_accuracy"] < 0.5


def test_noise_is_far_from_digits(measured):
    assert measured["noise"]["fid"] == max(found["fid"] for found in measured.values())
    assert measured["noise"]["accuracy"] < 0.3


@pytest.mark.parametrize("name", ["perfect", "random"])
def test_the_confusion_matrix_agrees_with_the_accuracies(measured, name):
    found = measured[name]
    counts = torch.tensor(found["confusion"])
    assert counts.shape == (10, 10) and int(counts.sum()) == 333
    assert counts.diag().sum() / 333 == pytest.approx(found["accuracy"], abs=1e-4)
    assert found["per_class"] == pytest.approx((counts.diag() / counts.sum(1)).tolist(), abs=1e-4)


def test_a_class_without_images_has_no_accuracy(handwriting):
    train, test, source = handwriting
    some = source.take(torch.nonzero(source.labels != 3)[:, 0])
    session = Session.start("cpu", precision="float32").during("evaluate")
    inputs = MetricInput(Transfer(FrozenEncoder(Headless()), ImageFunction(lambda images: images)), some, train, test, session)
    found = registry().build("metric", use("digit-accuracy", **FITTED))(inputs)
    assert found["per_class"][3] is None and None not in found["per_class"][:3] and found["confusion"][3] == [0] * 10


def test_the_original_images_can_be_measured_instead(handwriting):
    train, test, source = handwriting
    session = Session.start("cpu", precision="float32").during("evaluate")
    inputs = MetricInput(Transfer(FrozenEncoder(Headless()), ImageFunction(torch.zeros_like)), source, train, test, session)
    read = {
        of: registry().build("metric", use("digit-accuracy", **FITTED, of=of))(inputs) for of in ("transferred", "original")
    }
    assert read["transferred"]["accuracy"] < 0.2 and read["original"]["accuracy"] > 0.85


def test_results_are_plain_numbers_in_their_ranges(measured):
    for found in measured.values():
        for name, value in found.items():
            for number in leaves(value):
                assert type(number) in (int, float) and (number >= 0 or name == "kid"), name  # an unbiased estimate of 0
                assert not name.endswith("accuracy") or number <= 1


# What cannot be measured


def bars_input(source_labels=True, target_labels=True, classes=(4, 4)):
    def images(labelled, channels, seed, classes):
        pixels, labels = bars(12, channels=channels, seed=seed, classes=classes)
        return ImageSet.from_arrays(pixels, labels if labelled else None, size=32)

    torch.manual_seed(0)
    f = FrozenEncoder(registry().build("encoder", use("digit-encoder"), 32, 10))
    transfer = Transfer(f, registry().build("generator", use("digit-generator", width=4), 128, 1, 32)).eval()
    target = [images(target_labels, 1, seed, classes[1]) for seed in (1, 2)]
    return MetricInput(transfer, images(source_labels, 3, 0, classes[0]), *target, Session.start("cpu", precision="float32"))


def test_the_accuracies_of_f_and_of_the_evaluator_are_measured_too():
    found = registry().build("metric", use("digit-accuracy", steps=3, batch_size=4))(bars_input())
    assert {"accuracy", "encoder_accuracy", "evaluator_accuracy"} <= set(found) and found["n"] == 12


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("digit-accuracy", {"source_labels": False}),
        ("digit-accuracy", {"target_labels": False}),
        ("digit-accuracy", {"classes": (4, 2)}),
        ("digit-realism", {"target_labels": False}),
        ("adaptation-accuracy", {"source_labels": False}),
        ("adaptation-accuracy", {"target_labels": False}),
        ("adaptation-accuracy", {"classes": (4, 2)}),
    ],
)
def test_without_the_labels_it_needs_a_metric_is_not_measured(name, lacking):
    with pytest.raises(NotMeasurableError):
        registry().build("metric", use(name, steps=1))(bars_input(**lacking))


# f-consistency


def test_f_consistency_is_the_share_of_equal_predictions(handwriting):
    _, test, source = handwriting

    class Bright(Headless):
        """Two classes: the left half is brighter, or the right one."""

        def forward(self, images):
            return torch.stack([images[..., :16].mean((1, 2, 3)), images[..., 16:].mean((1, 2, 3))], 1)

        def logits(self, features):
            return features

    class BrightAndNothing(Bright):
        """The same, and a second head whose logits are larger and always the same."""

        heads = {"side": 2, "nothing": 2}  # noqa: RUF012

        def logits(self, features):
            return torch.cat([features, torch.tensor([[8.0, 9.0]]).expand(len(features), 2)], 1)

    session = Session.start("cpu", precision="float32")

    def found(f, draw):
        inputs = MetricInput(Transfer(FrozenEncoder(f), ImageFunction(draw)).eval(), source, test, test, session)
        return registry().build("metric", use("f-consistency"))(inputs)

    assert found(Bright(), lambda x: x) == {"f_consistency": 1.0, "n": 333}
    assert found(Bright(), lambda x: x.flip(3))["f_consistency"] < 0.02
    assert found(BrightAndNothing(), lambda x: x.flip(3))["f_consistency"] == pytest.approx(0.5, abs=0.01)
    headless = MetricInput(Transfer(FrozenEncoder(Headless()), ImageFunction(lambda x: x)).eval(), source, test, test, session)
    with pytest.raises(NotMeasurableError, match="head"):
        registry().build("metric", use("f-consistency"))(headless)


# FID and KID against what is known of Gaussians


def test_fid_of_gaussians_matches_the_formula():
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(20_000, 4, generator=rng)
    b = torch.randn(20_000, 4, generator=rng) * 2 + torch.tensor([1.0, 0, 0, 0])
    # |mean difference|^2 + tr(A + B - 2 sqrt(AB)) with A = I, B = 4 I: 1 + 4 * (1 + 4 - 4)
    assert frechet_distance(a, b) == pytest.approx(5, rel=0.03) and frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert kernel_distance(a[:600], b[:600]) > 0.1 > abs(kernel_distance(a[:600], a[600:1200]))
    assert kernel_distance(a[:600], b[:600]) == kernel_distance(a[:600], b[:600])


def test_the_identity_of_a_view_is_the_same_in_every_process():
    view = registry().build("augmentation", use("chain", steps=[use("warp"), use("noise", amount=0.5)]))
    assert "0x" not in repr(view_key(view)) and "'amount': 0.5" in repr(view_key(view))


# Lists of numbers among the results


def test_results_may_be_lists_of_numbers_and_nothing_else():
    found = plain_numbers({"a": torch.eye(2), "b": torch.tensor(3), "c": [[1, None], [0.5, 2]]}, "m")
    assert found == {"a": [[1.0, 0.0], [0.0, 1.0]], "b": 3, "c": [[1, None], [0.5, 2]]}
    for odd in ([[1, {}]], {"x": 1}, [nn.Identity()]):
        with pytest.raises(Exception, match="metric 'm' gave"):
            plain_numbers({"a": odd}, "m")


def test_verify_compares_lists(tmp_path, monkeypatch):
    run = go(tiny_recipe(tmp_path), tmp_path / "run")
    assert not domtrans.verify(run).differences
    file = run.path / "results.json"
    results = json.loads(file.read_text())
    results["confusion"][0][0] += 1
    change_results(file, confusion=results["confusion"])
    again = domtrans.load(run.path, device="cpu", registry=registry())
    assert [one.name for one in domtrans.verify(again).differences] == ["confusion"]
    for count, wanted in ((1, []), (3, ["confusion"])):  # 200 images on another machine, where 1 % may differ
        elsewhere = results["computed_on"] | {"threads": 999}
        change_results(file, confusion=[[100 + count, 0], [0, 100]], computed_on=elsewhere)
        again = domtrans.load(run.path, device="cpu", registry=registry())
        monkeypatch.setattr(again, "evaluate", lambda **_: results["metrics"] | {"confusion": [[100, 0], [0, 100]]})
        names = [one.name for one in domtrans.verify(again).differences]
        assert [name for name in names if name == "confusion"] == wanted


# Classes that differ between sets


def without(images, *names, classes=None):
    """The images of a set without some classes; ``classes`` renumbers the rest by name."""
    kept = [k for k, name in enumerate(images.classes) if name not in names]
    part = images.take(torch.isin(images.labels, torch.tensor(kept)).nonzero()[:, 0])
    return part if classes is None else ImageSet(part.pixels, domtrans.align_labels(part, classes), classes)


def results_of(metric, source, train, test, **options):
    session = Session.start("cpu", precision="float32")
    inputs = MetricInput(
        Transfer(FrozenEncoder(Headless()), ImageFunction(lambda x: x.mean(1, keepdim=True))).eval(),
        source,
        train,
        test,
        session,
    )
    return registry().build("metric", use(metric, **FITTED, **options))(inputs)


def test_a_class_that_the_target_test_lacks_changes_nothing_else(handwriting):
    train, test, source = handwriting
    nine = tuple("123456789")
    whole = results_of("digit-accuracy", source, train, test)
    for part in (without(test, "0"), without(test, "0", classes=nine)):
        found = results_of("digit-accuracy", source, train, part)
        assert found["evaluator_accuracy"] > 0.8 and found["evaluator_accuracy"] == pytest.approx(
            whole["evaluator_accuracy"], abs=0.05
        )
        assert {**found, "evaluator_accuracy": 0} == {**whole, "evaluator_accuracy": 0}


def test_a_class_that_only_the_target_test_has_changes_nothing(handwriting):
    train, test, source = handwriting
    whole = results_of("digit-accuracy", source, train, test)
    classes = ("!", *test.classes)
    more = ImageSet(
        torch.cat([test.images, test.images[:50]]), torch.cat([test.labels + 1, torch.zeros(50, dtype=torch.int64)]), classes
    )
    assert results_of("digit-accuracy", source, train, more) == whole
    adapted = [results_of("adaptation-accuracy", source, train, part)["adaptation_accuracy"] for part in (test, more)]
    assert adapted[0] == adapted[1] > 0.5


def test_classes_in_another_order_are_the_same_classes(handwriting):
    train, test, source = handwriting
    order = tuple(reversed(source.classes))
    other = ImageSet(source.pixels, domtrans.align_labels(source, order), order)
    for metric, key in (("digit-accuracy", "accuracy"), ("adaptation-accuracy", "adaptation_accuracy")):
        one, two = (results_of(metric, each, train, test) for each in (source, other))
        assert one[key] == pytest.approx(two[key], abs=0.1) and two[key] > 0.5
        if "per_class" in one:
            assert one["per_class"] == two["per_class"][::-1]


def test_source_images_of_a_class_without_target_images_are_left_out(handwriting):
    train, test, source = handwriting
    found = results_of("digit-accuracy", source, without(train, "3"), test)
    assert found["per_class"][3] is None and found["n"] == int((source.labels != 3).sum())
    assert found["evaluator_accuracy"] > 0.8 and found["accuracy"] > 0.5
    with pytest.raises(NotMeasurableError, match="the source's classes in the target too"):
        results_of("digit-accuracy", source, without(train, "3", classes=tuple("012456789")), test)
