"""domtrans.testing: a broken part fails with the contract that it breaks."""

import pytest
import torch
from torch import nn

import domtrans
from domtrans import testing
from tiny import registry


class Fine(domtrans.Loss):
    """Fine."""

    reads = frozenset({"source_fake"})

    def forward(self, outputs):
        return outputs.source_fake.square().mean()


class ReadsOn(Fine):
    """Reads what it does not declare."""

    def forward(self, outputs):
        return (outputs.source_fake - outputs.target_fake).square().mean()


class ReadsNothing(Fine):
    """Misspells a field."""

    reads = frozenset({"source_fakes"})


class NotReduced(Fine):
    """A loss an image."""

    def forward(self, outputs):
        return outputs.source_fake.square().mean((1, 2, 3))


class PullsNothing(Fine):
    """A constant."""

    def forward(self, outputs):
        return outputs.source_fake.detach().square().mean()


class Meddles(Fine):
    """Changes what it is shown."""

    def forward(self, outputs):
        with torch.no_grad():
            outputs.source_fake.mul_(0.5)
        return outputs.source_fake.square().mean()


class Learns(Fine):
    """Has weights that nothing steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)


class NeedsBoth(Fine):
    """Cannot do without the other domain."""

    reads = frozenset({"source_fake", "target_fake"})

    def forward(self, outputs):
        return (outputs.source_fake - outputs.target_fake).square().mean()


@pytest.mark.parametrize(
    ("loss", "contract"),
    [
        (ReadsOn, "loss-reads"),
        (ReadsNothing, "loss-reads"),
        (NotReduced, "loss-scalar"),
        (PullsNothing, "loss-gradient"),
        (Meddles, "loss-scalar|loss-outputs"),
        (Learns, "loss-parameters"),
        (NeedsBoth, "loss-separate"),
    ],
)
def test_a_broken_loss_is_told_what_it_breaks(loss, contract):
    testing.check_loss(Fine)
    with pytest.raises(AssertionError, match=contract):
        testing.check_loss(loss)


def leaky(split, size, *, seed: int = 0):
    """Another set each time.

    ``seed``: is not heeded.
    """
    images = torch.randint(0, 255, (4, 1, size, size), dtype=torch.uint8)
    return domtrans.ImageSet(images)


def unheeding(split, size, *, seed: int = 0):
    """The same set for any seed.

    ``seed``: is not heeded.
    """
    rng = torch.Generator().manual_seed(int(split == "test"))
    return domtrans.ImageSet(torch.randint(0, 255, (4, 1, size, size), dtype=torch.uint8, generator=rng))


def holding_back(split, size, *, holdout: float = 0.25):
    """A holdout that is not the share of the test split.

    Args:
        holdout: Share of the training split.
    """
    rng = torch.Generator().manual_seed(int(split == "test"))
    count = round(16 * (1 - holdout if split == "test" else holdout)) or 1
    return domtrans.ImageSet(torch.randint(0, 255, (count, 1, size, size), dtype=torch.uint8, generator=rng))


def cheats(split, size):
    """Tests on what it trains on."""
    return unheeding("train", size)


def of_one_size(split, size):
    """Does not resize."""
    return unheeding(split, 32)


@pytest.mark.parametrize(
    ("domain", "contract"),
    [
        (leaky, "domain-deterministic"),
        (unheeding, "domain-seed"),
        (holding_back, "domain-holdout"),
        (cheats, "domain-splits"),
        (of_one_size, "domain-gives"),
    ],
)
def test_a_broken_domain_is_told_what_it_breaks(domain, contract):
    with pytest.raises(AssertionError, match=contract):
        testing.check_domain(domain)


def backwards(a, b):
    """Largest where both agree."""
    return -(a - b).square().mean()


def deaf(a, b):
    """Pulls nothing."""
    return (a - b.detach()).square().mean()


def ungoverned(images, rng):
    """Draws from torch's own generator."""
    return images + torch.randn_like(images)


def clips(images, rng):
    """Grey only."""
    return images[:, :1]


def counts_words(inputs):
    """Figures that are none."""
    return {"verdict": "good"}


def breaks_g(inputs):
    """Trains what it measures."""
    with torch.no_grad():
        next(inputs.transfer.generator.parameters()).add_(1)
    return {"figure": 1.0}


def leaks(inputs):
    """Measures with a network that nothing keeps out of training."""
    ruler = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 2)).requires_grad_(False)
    ruler.load_state_dict({"1.weight": torch.ones(2, 32 * 32), "1.bias": torch.zeros(2)})
    return {"figure": float(ruler(domtrans.to_float(inputs.target_test.images)).mean())}


def idle(encoder, source, session):
    """Does nothing."""
    session.progress(1, 1)


def mute(encoder, source, session):
    """Tells nobody."""
    with torch.no_grad():
        next(encoder.parameters()).add_(1)


@pytest.mark.parametrize(
    ("kind", "part", "contract"),
    [
        ("distance", backwards, "distance-least"),
        ("distance", deaf, "distance-gradient"),
        ("augmentation", ungoverned, "augmentation-random"),
        ("augmentation", clips, "augmentation-shape"),
        ("metric", counts_words, "metric-results"),
        ("metric", breaks_g, "metric-harmless"),
        ("metric", leaks, "metric-evaluator"),
        ("fit", idle, "fit-learns"),
        ("fit", mute, "fit-stops"),
    ],
)
def test_other_broken_parts_are_told_what_they_break(kind, part, contract):
    with pytest.raises(AssertionError, match=contract):
        getattr(testing, f"check_{kind}")(part)


def unfinished() -> domtrans.Recipe:
    """A recipe with a part that nobody has."""
    recipe = registry().build("recipe", domtrans.use("digits-dtn-paper"))
    return recipe.model_copy(update={"target": domtrans.use("nowhere-to-be-found")})


def test_a_recipe_whose_parts_are_not_there():
    with pytest.raises(AssertionError, match=r"there is no domain 'nowhere-to-be-found'(.|\n)*recipe-whole"):
        testing.check_recipe(unfinished)


def test_checks_say_how_they_are_called():
    with pytest.raises(TypeError, match="takes a registry and a name, or a class or function"):
        testing.check_encoder("digit-encoder")
    with pytest.raises(TypeError, match="needs the name"):
        testing.check_encoder(registry())


def test_checks_leave_the_global_generators_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    testing.check_encoder(registry(), "digit-encoder")
    testing.check_domain(registry(), "street-digits", count=20, test_count=10)
    testing.check_fit(registry(), "classifier", steps=20, batch_size=4)
    assert torch.equal(torch.get_rng_state(), before)
