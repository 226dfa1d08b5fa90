"""The metrics of faces on synthetic transfers with known results: perfect, collapsed, nearly constant, random."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from domtrans import (
    Attribute,
    Encoder,
    FrozenEncoder,
    ImageSet,
    MetricInput,
    NotMeasurableError,
    Session,
    Transfer,
    load_domain,
    use,
)
from domtrans.evaluation.evaluate import plain_numbers
from domtrans_faces.metrics.avatars import balanced_accuracy, confusion_matrix, target_indices
from domtrans_faces.metrics.evaluator import AvatarEvaluator
from domtrans_faces.metrics.identity import gallery_and_probes, ranks_of
from domtrans_faces.metrics.lightness import lightness
from domtrans_faces.metrics.verification import cross_validated_accuracy, equal_error_rate, sample_pairs
from domtrans_faces.vocabulary import VOCABULARY
from made_up_transfers import Headless, ImageFunction
from tiny import registry

FITTED = {"steps": 120, "batch_size": 32}
ATTRIBUTES = ["skin", "hair_colour", "hair_length"]


class Colours(Encoder):
    """f: the mean colours of a 4 x 4 grid."""

    channels, feature_size = 3, 48

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


class ColourImageFunction(ImageFunction):
    """A G that is a function of the image in colour."""

    def forward(self, images):
        return self.function(images)


def metric_input(draw, source, train, test, encoder=Colours):
    session = Session.start("cpu", precision="float32").during("evaluate")
    return MetricInput(Transfer(FrozenEncoder(encoder()), ColourImageFunction(draw)).eval(), source, train, test, session)


def measure(name, of, **options):
    return plain_numbers(registry().build("metric", use(name, **options))(of), name)


@pytest.fixture(scope="module")
def faces():
    """Avatars for training, for testing, and as the source."""
    part = use("avatars", count=800, test_count=200)
    train, test = (load_domain(registry(), part, split, 32) for split in ("train", "test"))
    return train, test, load_domain(registry(), use("avatars", test_count=200, seed=1), "test", 32)


TRANSFERS = {
    "perfect": lambda x: x,
    "random": lambda x: x.roll(37, 0),  # an unrelated face
    "collapsed": lambda x: torch.linspace(-1, 1, x[0].numel()).view_as(x[0]).expand_as(x),  # one constant image
    "nearly constant": lambda x: 0.9 * x.mean(0, keepdim=True) + 0.1 * x,  # like the results of the 2017 study
}


@pytest.fixture(scope="module")
def measured(faces):
    train, test, source = faces
    found = {}
    for name, draw in TRANSFERS.items():
        of = metric_input(draw, source, train, test)
        found[name] = measure("attribute-agreement", of, attributes=ATTRIBUTES, **FITTED)
        found[name] |= measure("avatar-realism", of, **FITTED) | measure("avatar-diversity", of, **FITTED)
    return found


def test_a_perfect_transfer_agrees_up_to_the_evaluators_accuracy(measured):
    found = measured["perfect"]
    assert found["skin_evaluator_accuracy"] > 0.9 and found["hair_colour_evaluator_accuracy"] > 0.6
    for name in (*ATTRIBUTES, "attribute"):
        assert found[f"{name}_balanced_accuracy"] == pytest.approx(found[f"{name}_evaluator_accuracy"], abs=0.12)
    assert found["n"] == 200 and 0.85 < found["diversity"] < 1.15
    assert found["fid"] < 3 * found["fid_of_real"] and abs(found["kid"]) < 0.05 * measured["collapsed"]["kid"]


def test_a_random_transfer_agrees_by_chance_and_is_realistic(measured):
    found = measured["random"]
    assert (found["skin_chance_accuracy"], found["hair_colour_chance_accuracy"]) == (
        pytest.approx(1 / 3, abs=1e-4),
        pytest.approx(1 / 6, abs=1e-4),
    )
    for name in ATTRIBUTES:
        assert found[f"{name}_balanced_accuracy"] == pytest.approx(found[f"{name}_chance_accuracy"], abs=0.15)
    assert found["fid"] == pytest.approx(measured["perfect"]["fid"], rel=1e-3)
    assert found["diversity"] == pytest.approx(measured["perfect"]["diversity"], abs=0.01)


@pytest.mark.parametrize("name", ["collapsed", "nearly constant"])
def test_a_collapsed_g_is_detected(measured, name):
    found = measured[name]
    assert found["diversity"] < 0.2 and found["fid"] > 3 * measured["perfect"]["fid"]
    assert found["attribute_balanced_accuracy"] < found["attribute_chance_accuracy"] + 0.2
    if name == "collapsed":
        assert found["diversity"] == 0
        assert found["skin_balanced_accuracy"] == pytest.approx(1 / 3, abs=1e-4)  # one value is always right, the others never


def test_the_confusion_matrix_counts_every_known_attribute(faces, measured):
    source = faces[2]
    for name in ATTRIBUTES:
        counts = torch.tensor(measured["perfect"][f"{name}_confusion"])
        assert counts.shape == (len(VOCABULARY[name]),) * 2
        assert int(counts.sum()) == int((source.attributes[name].index >= 0).sum())
        assert round(balanced_accuracy(counts), 4) == measured["perfect"][f"{name}_balanced_accuracy"]


def test_attribute_values_are_matched_by_name():
    source = Attribute(("red", "mauve", "black"), torch.tensor([0, 1, 2, -1]))
    target = Attribute(("black", "brown", "red"), torch.tensor([0]))
    assert target_indices(source, target).tolist() == [2, -1, 0, -1]
    confusion = confusion_matrix(torch.tensor([2, -1, 0, 0]), torch.tensor([2, 1, 0, 1]), 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]] and balanced_accuracy(confusion) == 0.75


def test_matched_realism_is_that_of_real_avatars_with_the_attributes_of_the_source(faces, measured):
    """Near that of real ones for a source like the target, far for other attributes. G counts in ``fid_to_matched`` only."""
    train, test, source = faces
    of_all = measure("matched-realism", metric_input(TRANSFERS["collapsed"], source, train, test), **FITTED)
    assert of_all["n"] == 200 and of_all["fid_of_matched"] < 3 * measured["perfect"]["fid_of_real"]
    assert of_all["fid_to_matched"] > 3 * of_all["fid_of_matched"], "all avatars of a collapsed G are the same"
    dark = source.take((source.attributes["skin"].index == 2).nonzero()[:, 0])
    of_some = measure("matched-realism", metric_input(TRANSFERS["perfect"], dark, train, test), **FITTED)
    assert of_some["fid_of_matched"] > 2 * of_all["fid_of_matched"] and of_some["fid_to_matched"] < of_some["fid_of_matched"]


def test_missing_data_is_reported(faces):
    train, test, source = faces
    plain = source.unlabelled()
    for name, of, options in (
        ("attribute-agreement", metric_input(TRANSFERS["perfect"], plain, train, test), {}),
        ("attribute-agreement", metric_input(TRANSFERS["perfect"], source, train, test), {"attributes": ["hat"]}),
        ("avatar-realism", metric_input(TRANSFERS["perfect"], source, train.unlabelled(), test), {}),
        ("avatar-diversity", metric_input(TRANSFERS["perfect"], source, train.unlabelled(), test), {}),
        ("matched-realism", metric_input(TRANSFERS["perfect"], plain, train, test), {}),
        ("identity-retrieval", metric_input(TRANSFERS["perfect"], source, train, test), {}),
        ("face-verification", metric_input(TRANSFERS["perfect"], source, train, test), {"encoder": use("colour-grid")}),
        ("photo-likeness", metric_input(TRANSFERS["perfect"], source.take(torch.arange(2)), train, test), {}),
    ):
        with pytest.raises(NotMeasurableError, match=r"need|fitted on"):
            measure(name, of, **options)


def test_the_evaluator_accepts_larger_avatars():
    evaluator = AvatarEvaluator(3, (3, 2)).eval()
    assert evaluator(torch.zeros(2, 3, 96, 96)).shape == (2, 5)
    assert evaluator(torch.zeros(2, 3, 32, 32), hidden=True).shape == (2, 128)


# Identity


@pytest.fixture(scope="module")
def people(faces):
    """Thirty people, each with one avatar in six different lightings."""
    avatars = faces[2].images[:30].repeat_interleave(6, 0)
    light = torch.rand(len(avatars), 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.6
    names = tuple(f"person {number}" for number in range(30))
    return ImageSet((avatars * light).to(torch.uint8), torch.arange(30).repeat_interleave(6), names)


def test_retrieval_of_perfect_random_and_collapsed_avatars(faces, people):
    found = {}
    for name in ("perfect", "random", "collapsed"):
        of = metric_input(TRANSFERS[name], people, *faces[:2])
        of.transfer.encoder.standardize(people)
        found[name] = measure("identity-retrieval", of, people=20)
    assert found["perfect"]["identity_people"] == 20 and found["perfect"]["n"] == 80  # four probes per person
    assert found["perfect"]["identity_median_rank"] < 3 and found["perfect"]["identity_top_5_accuracy"] > 0.5
    assert found["perfect"]["identity_top_5_accuracy"] == found["perfect"]["photo_top_5_accuracy"]
    assert found["random"]["identity_median_rank"] == pytest.approx(found["random"]["identity_median_rank_chance"], abs=4)
    assert found["random"]["identity_median_rank_chance"] == 10.5 and found["random"]["identity_top_5_chance_accuracy"] == 0.25
    assert found["collapsed"]["identity_top_5_accuracy"] == 0.25 and found["collapsed"]["identity_top_1_accuracy"] == 0.05


def test_retrieval_with_another_encoder(faces, people):
    of = metric_input(TRANSFERS["perfect"], people, *faces[:2], encoder=Headless)
    found = [measure("identity-retrieval", of, **options) for options in ({}, {"encoder": {"name": "digit-encoder"}})]
    assert found[0] != found[1] and found[1]["identity_median_rank"] == found[1]["photo_median_rank"]


def test_people_with_one_photograph_are_left_out():
    gallery, shown, who = gallery_and_probes(torch.tensor([5, 3, 5, 3, 3, 9]), 100, 1)
    assert (gallery.tolist(), shown.tolist(), who.tolist()) == ([1, 0], [3, 2], [0, 1])
    assert not len(gallery_and_probes(torch.tensor([1, 2, 3]), 100, 1)[0])


def test_ties_get_the_mean_rank():
    known = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    assert ranks_of(torch.tensor([0, 2]), torch.tensor([[2.0, 0], [1.0, 0]]), known).tolist() == [1.5, 3.0]


# Verification


def test_verification_of_perfect_random_and_collapsed_avatars(faces, people):
    found = {}
    for name in ("perfect", "random", "collapsed"):
        of = metric_input(TRANSFERS[name], people, *faces[:2])
        found[name] = measure("face-verification", of, encoder=use("colour-grid"), pairs=40, folds=4)
    assert found["perfect"]["n"] == 320 and found["perfect"]["verification_people"] == 30
    assert found["perfect"]["verification_accuracy"] > 0.9 and found["perfect"]["verification_eer"] < 0.1
    assert found["perfect"]["other_photo_verification_eer"] == found["perfect"]["photo_verification_eer"]
    assert found["random"]["verification_accuracy"] == pytest.approx(0.5, abs=0.1)
    assert found["random"]["photo_verification_accuracy"] == found["perfect"]["photo_verification_accuracy"] > 0.6
    assert found["collapsed"]["verification_accuracy"] == found["collapsed"]["verification_eer"] == 0.5


def test_the_rates_of_verification_by_hand():
    rng = np.random.default_rng(0)
    same = rng.random((3, 40)) < 0.5
    scores = np.round(rng.normal(same * 1.0, 1), 1)  # with ties
    accuracies = []
    for k in range(3):
        rest = [(s, t) for j in range(3) if j != k for s, t in zip(scores[j], same[j], strict=True)]
        candidates = sorted({s for s, _ in rest})
        candidates = [candidates[0] - 1, *((a + b) / 2 for a, b in pairwise(candidates)), candidates[-1]]
        best = max(candidates, key=lambda c: sum((s > c) == t for s, t in rest))
        accuracies.append(sum((s > best) == t for s, t in zip(scores[k], same[k], strict=True)) / 40)
    assert cross_validated_accuracy(scores, same) == pytest.approx(sum(accuracies) / 3)
    known = [(0.1, False), (0.2, True), (0.3, False), (0.4, False), (0.5, True), (0.6, False), (0.7, True), (0.8, True)]
    # Above 0.4, one of four is rejected and one of four is accepted.
    assert equal_error_rate(*map(np.array, zip(*known, strict=True))) == pytest.approx(0.25)
    assert equal_error_rate(np.array([0.0, 1.0]), np.array([False, True])) == 0
    assert equal_error_rate(np.array([1.0, 1.0, 1.0]), np.array([False, True, True])) == 0.5, "no score tells them apart"


def test_pairs_of_verification_stay_within_a_fold():
    people = np.repeat(np.arange(6), 3)
    for own in (True, False):
        photo, avatar = sample_pairs(people, np.array([1, 4]), 20, np.random.default_rng(0), own=own)
        assert set(people[photo]) | set(people[avatar]) <= {1, 4}
        assert ((people[photo] == people[avatar]) == (np.arange(40) < 20)).all()
        assert ((photo == avatar)[:20] == own).all()


# Lightness


def test_likeness_of_perfect_random_and_collapsed_avatars(faces, people):
    followed, random, collapsed = (
        measure("photo-likeness", metric_input(TRANSFERS[name], people, *faces[:2]))
        for name in ("perfect", "random", "collapsed")
    )
    assert followed["skin_likeness"] > 0.9 and followed["hair_likeness"] > 0.6
    assert 0.3 < followed["skin_steadiness"] < 1  # the light varies, the skin does not
    assert abs(random["skin_likeness"]) < 0.35 and collapsed["skin_likeness"] == 0
    darker = measure("photo-likeness", metric_input(lambda x: -x, people, *faces[:2]))
    assert darker["skin_likeness"] < -0.9
    assert "skin_steadiness" not in measure(
        "photo-likeness", metric_input(TRANSFERS["perfect"], people.unlabelled(), *faces[:2])
    )


@pytest.mark.parametrize(("attribute", "patch"), [("skin", (0.35, 0.44, 0.65, 0.57)), ("hair_colour", (0.35, 0.14, 0.65, 0.2))])
def test_the_default_patches_cover_skin_and_hair_of_avatars(faces, attribute, patch):
    words = VOCABULARY[attribute]
    index = faces[0].attributes[attribute].index
    order = ["dark", "medium", "light"] if attribute == "skin" else ["black", "brown", "blond"]
    means = [lightness(faces[0], patch)[index == words.index(word)].mean() for word in order]
    assert means[0] + 20 < means[1] < means[2] - 20


def test_an_empty_patch_is_refused():
    with pytest.raises(Exception, match="left < right"):
        measure("photo-likeness", None, photo_skin=[0.5, 0.2, 0.5, 0.6])


# The heads of f


HEADS = {name: VOCABULARY[name] for name in ("skin", "glasses")}


class SkinByLightness(Encoder):
    """f: skin is predicted from the lightness of the image, glasses are always \"no\"."""

    channels, feature_size = 3, 1
    heads = HEADS

    def forward(self, images):
        return images.mean((1, 2, 3))[:, None]

    def logits(self, features):
        skin = torch.cat([features, 0.1 - features.abs(), -features], 1)
        return torch.cat([skin, torch.tensor([[1.0, 0.0]]).expand(len(skin), 2)], 1)


def toned(shades, **attributes):
    pixels = torch.tensor(shades, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    return ImageSet(pixels, attributes={name: Attribute(VOCABULARY[name], torch.tensor(v)) for name, v in attributes.items()})


def test_f_reading_is_the_balanced_accuracy_of_known_attributes():
    source = toned([250, 250, 10, 127], skin=[0, 2, 2, -1], glasses=[-1, -1, -1, -1])
    target = toned([127, 10], skin=[1, 2], glasses=[0, 1])
    found = measure("f-reading", metric_input(lambda x: x, source, target, target, encoder=SkinByLightness))
    wanted = {"f_skin_source_accuracy": 0.75, "f_skin_target_accuracy": 1.0, "f_glasses_target_accuracy": 0.5}
    assert found == wanted | {"n": 4, "n_target": 2}


@pytest.mark.parametrize(("second", "steadiness"), [([5, 55, 105, 155, 205, 245], 1), ([245, 205, 155, 105, 55, 5], -1)])
def test_f_reading_compares_the_skin_of_two_photographs_of_one_person(second, steadiness):
    toned_people = toned([10, 60, 110, 160, 210, 250, *second], skin=[2, 2, 1, 1, 0, 0] * 2)
    source = ImageSet(toned_people.images, torch.arange(6).repeat(2), tuple("abcdef"), attributes=toned_people.attributes)
    found = measure("f-reading", metric_input(lambda x: x, source, toned_people, toned_people, encoder=SkinByLightness))
    assert found["f_skin_steadiness"] == steadiness


def test_f_reading_needs_heads_and_attributes():
    bare = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    for encoder, images in ((SkinByLightness, bare), (Colours, toned([10], skin=[2]))):
        with pytest.raises(NotMeasurableError, match="f-reading needs an f with attribute heads"):
            measure("f-reading", metric_input(lambda x: x, images, images, images, encoder=encoder))
