"""The label-free score: the class margin against a formula written by hand, and transfers that are good and bad on purpose."""

import math

import pytest
import torch
from torch import nn

from domtrans import Encoder, FrozenEncoder, ImageSet, Transfer
from domtrans.evaluation.label_free_score import LabelFreeScore, class_margins
from made_up_transfers import Headless, ImageFunction


class BrighterSide(Encoder):
    """Predicts on which side an image is brighter: class 0 left, class 1 right."""

    channels, feature_size = 1, 2

    def __init__(self):
        super().__init__()
        self.heads = {"side": 2}
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * torch.stack([side.mean((1, 2, 3)) for side in images.chunk(2, 3)], 1)

    def logits(self, features):
        return features


class SideAndNothing(BrighterSide):
    """Predicts the side, and has a second head whose logits are larger and always the same."""

    def __init__(self):
        super().__init__()
        self.heads = {"side": 2, "nothing": 2}

    def logits(self, features):
        return torch.cat([features, torch.tensor([[8.0, 9.0]]).expand(len(features), 2)], 1)


def sides(count, ink, seed):
    """Images with a bright side and noise: the source has faint ink, the target dark."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (count, 1, 8, 8), generator=rng)
    side = torch.arange(count) % 2
    images[side == 0, :, :, :4] += ink
    images[side == 1, :, :, 4:] += ink
    return images.to(torch.uint8)


SOURCE, TARGET = sides(40, 40, seed=0), sides(40, 190, seed=1)


def scores(draw, encoder=None, target=TARGET):
    """The scores of G(x) = draw(source images)."""
    f = FrozenEncoder(encoder or BrighterSide())
    return LabelFreeScore(ImageSet(SOURCE), ImageSet(target)).score(Transfer(f, ImageFunction(draw)).eval())


def as_floats(images):
    return images / 127.5 - 1


def test_class_margins_are_differences_of_nearest_distances():
    torch.manual_seed(0)
    distances, wanted, seen = torch.rand(5, 7), torch.tensor([0, 1, 2, 1, 3]), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for found, row, own in zip(class_margins(distances, wanted, seen), distances.tolist(), wanted.tolist(), strict=True):
        same = [d for d, k in zip(row, seen.tolist(), strict=True) if k == own]
        others = [d for d, k in zip(row, seen.tolist(), strict=True) if k != own]
        assert found.item() == pytest.approx(min(others) - min(same) if same else 0.0)


def test_without_a_second_class_among_the_references_margins_are_zero():
    assert class_margins(torch.rand(3, 4), torch.tensor([0, 0, 1]), torch.zeros(4, dtype=torch.int64)).tolist() == [0, 0, 0]


def test_a_good_transfer_has_the_margin_of_real_images():
    found = scores(lambda images: as_floats(sides(len(images), 190, seed=2)))
    assert found["validation.agreement"] == 1 and found["validation.margin"] == pytest.approx(1, abs=0.1)
    assert found["validation.score"] == pytest.approx(found["validation.margin"] * found["validation.realism"])
    assert found["validation.score"] > 0.8


def test_images_of_other_classes_have_no_margin():
    found = scores(lambda images: as_floats(sides(len(images), 190, seed=2)).roll(1, 0))
    assert found["validation.realism"] > 0.8 and found["validation.agreement"] == 0
    assert found["validation.margin"] == 0 and found["validation.score"] == 0


def test_the_agreement_counts_the_predictions_of_every_head():
    found = scores(lambda images: as_floats(sides(len(images), 190, seed=2)).roll(1, 0), SideAndNothing())
    assert found["validation.agreement"] == 0.5 and "validation.margin" not in found


def test_images_that_only_f_reads_have_a_low_margin():
    """A trace of brightness on the right side is all that f needs."""

    def trace(images):
        noise = 2 * torch.rand(images.shape, generator=torch.Generator().manual_seed(3)) - 1
        return (noise + 0.3 * torch.sign(images - images.mean((1, 2, 3), keepdim=True))).clamp(-1, 1)

    found = scores(trace)
    assert found["validation.agreement"] == 1 and found["validation.margin"] < 0.6


def test_without_a_head_of_classes_the_content_is_the_agreement():
    found = scores(lambda images: as_floats(sides(len(images), 190, seed=2)), Headless())
    assert "validation.margin" not in found
    assert found["validation.score"] == pytest.approx(found["validation.agreement"] * found["validation.realism"])
    assert all(math.isfinite(value) for value in found.values())


def test_where_distances_do_not_follow_classes_the_content_is_the_agreement():
    """The class is a small difference of brightness between the sides of images that are bright or dark as a whole."""
    levels = torch.randint(0, 180, (40, 1, 1, 1), generator=torch.Generator().manual_seed(4))
    target = (levels + sides(40, 10, seed=5)).to(torch.uint8)
    found = scores(lambda images: as_floats(target[: len(images)]), target=target)
    assert "validation.margin" not in found and found["validation.agreement"] > 0.6
    assert found["validation.score"] == pytest.approx(found["validation.agreement"] * found["validation.realism"])
