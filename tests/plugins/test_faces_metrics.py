"""The metrics of faces on made-up transfers whose figures are known: perfect, collapsed, nearly the same, random."""

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
from domtrans_faces.metrics.avatars import balanced_accuracy, count, shared_words
from domtrans_faces.metrics.evaluator import AvatarEvaluator
from domtrans_faces.metrics.identity import arranged, ranks_of
from domtrans_faces.metrics.lightness import lightness
from domtrans_faces.vocabulary import VOCABULARY
from made_up_transfers import Headless, ImageFunction
from tiny import registry

FITTED = {"steps": 120, "batch_size": 32}
READ = ["skin", "hair_colour", "hair_length"]


class Colours(Encoder):
    """An f that sees an image's colours, in 4 x 4 places."""

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
    """Avatars to fit on, others to test on, and still others as the source."""
    part = use("avatars", count=800, test_count=200)
    train, test = (load_domain(registry(), part, split, 32) for split in ("train", "test"))
    return train, test, load_domain(registry(), use("avatars", test_count=200, seed=1), "test", 32)


DRAWS = {
    "perfect": lambda x: x,
    "random": lambda x: x.roll(37, 0),  # a face that has nothing to do with x
    "collapsed": lambda x: torch.linspace(-1, 1, x[0].numel()).view_as(x[0]).expand_as(x),  # always one image
    "nearly the same": lambda x: 0.9 * x.mean(0, keepdim=True) + 0.1 * x,  # what the study got
}


@pytest.fixture(scope="module")
def measured(faces):
    train, test, source = faces
    found = {}
    for name, draw in DRAWS.items():
        of = metric_input(draw, source, train, test)
        found[name] = measure("attribute-agreement", of, attributes=READ, **FITTED)
        found[name] |= measure("avatar-realism", of, **FITTED) | measure("avatar-diversity", of, **FITTED)
    return found


def test_a_perfect_transfer_agrees_as_far_as_the_evaluator_can_read(measured):
    found = measured["perfect"]
    assert found["skin_evaluator_accuracy"] > 0.9 and found["hair_colour_evaluator_accuracy"] > 0.6
    for name in (*READ, "attribute"):
        assert found[f"{name}_balanced_accuracy"] == pytest.approx(found[f"{name}_evaluator_accuracy"], abs=0.12)
    assert found["n"] == 200 and 0.85 < found["diversity"] < 1.15
    assert found["fid"] < 3 * found["fid_of_real"] and abs(found["kid"]) < 0.05 * measured["collapsed"]["kid"]


def test_a_random_transfer_agrees_by_chance_and_looks_real(measured):
    found = measured["random"]
    assert (found["skin_chance_accuracy"], found["hair_colour_chance_accuracy"]) == (
        pytest.approx(1 / 3, abs=1e-4),
        pytest.approx(1 / 6, abs=1e-4),
    )
    for name in READ:
        assert found[f"{name}_balanced_accuracy"] == pytest.approx(found[f"{name}_chance_accuracy"], abs=0.15)
    assert found["fid"] == pytest.approx(measured["perfect"]["fid"], rel=1e-3)
    assert found["diversity"] == pytest.approx(measured["perfect"]["diversity"], abs=0.01)


@pytest.mark.parametrize("name", ["collapsed", "nearly the same"])
def test_always_the_same_face_shows(measured, name):
    found = measured[name]
    assert found["diversity"] < 0.2 and found["fid"] > 3 * measured["perfect"]["fid"]
    assert found["attribute_balanced_accuracy"] < found["attribute_chance_accuracy"] + 0.2
    if name == "collapsed":
        assert found["diversity"] == 0
        assert found["skin_balanced_accuracy"] == pytest.approx(1 / 3, abs=1e-4)  # one value is always right, the others never


def test_the_confusion_counts_every_face_whose_attribute_is_known(faces, measured):
    source = faces[2]
    for name in READ:
        counts = torch.tensor(measured["perfect"][f"{name}_confusion"])
        assert counts.shape == (len(VOCABULARY[name]),) * 2
        assert int(counts.sum()) == int((source.attributes[name].index >= 0).sum())
        assert round(balanced_accuracy(counts), 4) == measured["perfect"][f"{name}_balanced_accuracy"]


def test_values_are_matched_by_their_words():
    source = Attribute(("red", "mauve", "black"), torch.tensor([0, 1, 2, -1]))
    target = Attribute(("black", "brown", "red"), torch.tensor([0]))
    assert shared_words(source, target).tolist() == [2, -1, 0, -1]
    confusion = count(torch.tensor([2, -1, 0, 0]), torch.tensor([2, 1, 0, 1]), 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]] and balanced_accuracy(confusion) == 0.75


def test_attributes_that_are_not_there_are_said(faces):
    train, test, source = faces
    plain = source.unlabelled()
    for name, of, options in (
        ("attribute-agreement", metric_input(DRAWS["perfect"], plain, train, test), {}),
        ("attribute-agreement", metric_input(DRAWS["perfect"], source, train, test), {"attributes": ["hat"]}),
        ("avatar-realism", metric_input(DRAWS["perfect"], source, train.unlabelled(), test), {}),
        ("avatar-diversity", metric_input(DRAWS["perfect"], source, train.unlabelled(), test), {}),
        ("identity-retrieval", metric_input(DRAWS["perfect"], source, train, test), {}),
        ("photo-likeness", metric_input(DRAWS["perfect"], source.take(torch.arange(2)), train, test), {}),
    ):
        with pytest.raises(NotMeasurableError, match=r"need|fitted on"):
            measure(name, of, **options)


def test_larger_avatars_are_read_as_well():
    evaluator = AvatarEvaluator(3, (3, 2)).eval()
    assert evaluator(torch.zeros(2, 3, 96, 96)).shape == (2, 5)
    assert evaluator(torch.zeros(2, 3, 32, 32), hidden=True).shape == (2, 128)


# Identity


@pytest.fixture(scope="module")
def people(faces):
    """Thirty people, each with an avatar of their own, seen six times in changing light."""
    avatars = faces[2].images[:30].repeat_interleave(6, 0)
    light = torch.rand(len(avatars), 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.6
    names = tuple(f"person {number}" for number in range(30))
    return ImageSet((avatars * light).to(torch.uint8), torch.arange(30).repeat_interleave(6), names)


def test_a_person_is_found_by_a_perfect_avatar_and_by_chance_in_others(faces, people):
    found = {}
    for name in ("perfect", "random", "collapsed"):
        of = metric_input(DRAWS[name], people, *faces[:2])
        of.transfer.encoder.standardize(people)
        found[name] = measure("identity-retrieval", of, people=20)
    assert found["perfect"]["identity_people"] == 20 and found["perfect"]["n"] == 80  # four probes a person
    assert found["perfect"]["identity_median_rank"] < 3 and found["perfect"]["identity_top_5_accuracy"] > 0.5
    assert found["perfect"]["identity_top_5_accuracy"] == found["perfect"]["photo_top_5_accuracy"]
    assert found["random"]["identity_median_rank"] == pytest.approx(found["random"]["identity_median_rank_chance"], abs=4)
    assert found["random"]["identity_median_rank_chance"] == 10.5 and found["random"]["identity_top_5_chance_accuracy"] == 0.25
    assert found["collapsed"]["identity_top_5_accuracy"] == 0.25 and found["collapsed"]["identity_top_1_accuracy"] == 0.05


def test_another_network_may_judge(faces, people):
    of = metric_input(DRAWS["perfect"], people, *faces[:2], encoder=Headless)
    found = [measure("identity-retrieval", of, **options) for options in ({}, {"encoder": {"name": "digit-encoder"}})]
    assert found[0] != found[1] and found[1]["identity_median_rank"] == found[1]["photo_median_rank"]


def test_people_of_one_photograph_do_not_count():
    gallery, shown, who = arranged(torch.tensor([5, 3, 5, 3, 3, 9]), 100, 1)
    assert (gallery.tolist(), shown.tolist(), who.tolist()) == ([1, 0], [3, 2], [0, 1])
    assert not len(arranged(torch.tensor([1, 2, 3]), 100, 1)[0])


def test_equal_similarities_share_their_ranks():
    known = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    assert ranks_of(torch.tensor([0, 2]), torch.tensor([[2.0, 0], [1.0, 0]]), known).tolist() == [1.5, 3.0]


# Lightness


def test_lightness_is_followed_or_not(faces, people):
    followed, random, collapsed = (
        measure("photo-likeness", metric_input(DRAWS[name], people, *faces[:2])) for name in ("perfect", "random", "collapsed")
    )
    assert followed["skin_likeness"] > 0.9 and followed["hair_likeness"] > 0.6
    assert 0.3 < followed["skin_steadiness"] < 1  # the light changes, the skin does not
    assert abs(random["skin_likeness"]) < 0.35 and collapsed["skin_likeness"] == 0
    darker = measure("photo-likeness", metric_input(lambda x: -x, people, *faces[:2]))
    assert darker["skin_likeness"] < -0.9
    assert "skin_steadiness" not in measure("photo-likeness", metric_input(DRAWS["perfect"], people.unlabelled(), *faces[:2]))


@pytest.mark.parametrize(("attribute", "patch"), [("skin", (0.35, 0.44, 0.65, 0.57)), ("hair_colour", (0.35, 0.14, 0.65, 0.2))])
def test_the_patches_of_avatars_are_where_skin_and_hair_are(faces, attribute, patch):
    words = VOCABULARY[attribute]
    index = faces[0].attributes[attribute].index
    order = ["dark", "medium", "light"] if attribute == "skin" else ["black", "brown", "blond"]
    means = [lightness(faces[0], patch)[index == words.index(word)].mean() for word in order]
    assert means[0] + 20 < means[1] < means[2] - 20


def test_a_patch_of_nothing_is_refused():
    with pytest.raises(Exception, match="left < right"):
        measure("photo-likeness", None, photo_skin=[0.5, 0.2, 0.5, 0.6])


# What f reads


TELLS = {name: VOCABULARY[name] for name in ("skin", "glasses")}


class Told(Encoder):
    """An f whose head for the skin goes by how light an image is; of glasses it always says no."""

    channels, feature_size = 3, 1
    heads = TELLS

    def forward(self, images):
        return images.mean((1, 2, 3))[:, None]

    def logits(self, features):
        skin = torch.cat([features, 0.1 - features.abs(), -features], 1)
        return torch.cat([skin, torch.tensor([[1.0, 0.0]]).expand(len(skin), 2)], 1)


def toned(shades, **attributes):
    pixels = torch.tensor(shades, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    return ImageSet(pixels, attributes={name: Attribute(VOCABULARY[name], torch.tensor(v)) for name, v in attributes.items()})


def test_f_reading_is_the_balanced_accuracy_of_fs_heads_where_something_is_known():
    source = toned([250, 250, 10, 127], skin=[0, 2, 2, -1], glasses=[-1, -1, -1, -1])
    target = toned([127, 10], skin=[1, 2], glasses=[0, 1])
    found = measure("f-reading", metric_input(lambda x: x, source, target, target, encoder=Told))
    wanted = {"f_skin_source_accuracy": 0.75, "f_skin_target_accuracy": 1.0, "f_glasses_target_accuracy": 0.5}
    assert found == wanted | {"n": 4, "n_target": 2}


def test_f_reading_needs_heads_and_attributes():
    bare = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    for encoder, images in ((Told, bare), (Colours, toned([10], skin=[2]))):
        with pytest.raises(NotMeasurableError, match="f-reading needs an f that tells attributes"):
            measure("f-reading", metric_input(lambda x: x, images, images, images, encoder=encoder))
