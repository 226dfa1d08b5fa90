"""domtrans.testing: encoders and generators that break a contract are told which."""

import pytest
import torch
from torch import nn

import domtrans
from domtrans import testing
from domtrans.testing.contracts import CONTRACTS, page_of
from tiny import registry


class Sound(domtrans.Encoder):
    """A sound f."""

    channels, feature_size = 3, 4

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * size * size, 4)

    def forward(self, images):
        return self.layer(images.flatten(1))


class Detaches(Sound):
    """An f through which no gradient comes."""

    def forward(self, images):
        return super().forward(images.detach())


class ViewsMemory(Sound):
    """An f that relies on the layout of its input."""

    def forward(self, images):
        return self.layer(images.view(len(images), -1))


class LooksAtTheBatch(Sound):
    """An f whose answer hangs on the rest of the batch."""

    def forward(self, images):
        features = super().forward(images)
        return features - features.mean(0)


class RemembersOutside(Sound):
    """An f with a weight that is no parameter."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__(size, classes)
        self.shift = torch.randn(4)

    def forward(self, images):
        return super().forward(images) + self.shift


class StaysBehind(Sound):
    """An f with a constant that does not move along."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__(size, classes)
        self.shift = torch.arange(4.0)

    def forward(self, images):
        return super().forward(images) + self.shift


class TooWide(Sound):
    """An f that reads more channels than an image can have."""

    channels = 65


class Miscounts(Sound):
    """An f that gives fewer features than it says."""

    feature_size = 5


class Silent(Sound):
    __doc__ = None


class Vague(Sound):
    """An f with an option that nobody explains."""

    def __init__(self, size: int, classes: int, *, depth: int = 3) -> None:
        super().__init__(size, classes)


class Untyped(Sound):
    """An f with an option of no type.

    ``depth``: of what?
    """

    def __init__(self, size: int, classes: int, *, depth=3) -> None:
        super().__init__(size, classes)


@pytest.mark.parametrize(
    ("encoder", "contract"),
    [
        (Detaches, "network-gradient"),
        (ViewsMemory, "network-layout"),
        (LooksAtTheBatch, "network-eval"),
        (RemembersOutside, "network-saved"),
        (StaysBehind, "network-device"),
        (Miscounts, "network-forward"),
        (Silent, "any-documented"),
        (Vague, "any-documented"),
        (Untyped, "any-options"),
    ],
)
def test_a_broken_encoder_is_told_what_it_breaks(encoder, contract):
    with pytest.raises(AssertionError, match=f"{page_of(contract)}#{contract}") as failure:
        testing.check_encoder(encoder)
    assert CONTRACTS[contract] in str(failure.value) and encoder.__name__ in str(failure.value)


def test_a_sound_encoder_passes_as_a_class_and_at_another_size():
    testing.check_encoder(Sound)
    testing.check_encoder(Sound, size=16, classes=0)


@pytest.mark.parametrize("channels", [1, 5, 64])
def test_an_encoder_may_read_any_number_of_channels(channels):
    testing.check_encoder(registry(), "map-encoder", channels=channels, width=4, features=4)


def test_an_encoder_without_a_number_of_channels_is_told_so():
    with pytest.raises(AssertionError, match="its ``channels`` is 65"):
        testing.check_encoder(TooWide)


def test_a_local_class_cannot_be_handed_to_workers():
    class Local(Sound):
        """Defined where pickle cannot find it."""

    with pytest.raises(AssertionError, match="any-picklable"):
        testing.check_encoder(Local)


class Bright(domtrans.Generator):
    """A g beyond the range."""

    def __init__(self, feature_size: int, channels: int, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(feature_size, channels * size * size)
        self.shape = (channels, size, size)

    def forward(self, features):
        return self.layer(features).unflatten(1, self.shape)


def test_a_broken_generator_is_told_what_it_breaks():
    with pytest.raises(AssertionError, match="generator-range"):
        testing.check_generator(Bright)
