"""The metric variety: 0 for a g that ignores z, 1 for one that draws as various images as the target has."""

import pytest
import torch

from domtrans import FeatureNoise, FrozenEncoder, Generator, ImageSet, MetricInput, NotMeasurableError, Session, Transfer, use
from tiny import registry


class Grey(Generator):
    """Images of one grey, which depends on z only: uniform between -spread and spread."""

    def __init__(self, spread, noise=1):
        super().__init__()
        torch.manual_seed(0)
        self.spread, self.noise = spread, FeatureNoise(128, noise)

    def forward(self, features):
        z = self.noise(features)[:, 128:]
        return (torch.special.ndtr(z) * 2 - 1)[:, :, None, None].expand(-1, -1, 32, 32) * self.spread


def measured(g, images=12):
    random = torch.Generator().manual_seed(0)
    greys = torch.rand(300, 1, 1, 1, generator=random).expand(-1, 1, 32, 32).mul(255).to(torch.uint8)
    source = ImageSet(torch.randint(0, 256, (40, 3, 32, 32), generator=random, dtype=torch.uint8))
    transfer = Transfer(FrozenEncoder(registry().build("encoder", use("digit-encoder"), 32, 0)), g.eval())
    session = Session.start("cpu", precision="float32")
    inputs = MetricInput(transfer, source, ImageSet(greys[:200]), ImageSet(greys[200:]), session)
    metric = registry().build("metric", use("variety", variants=20, images=images, steps=2, batch_size=8))
    return metric(inputs)


def test_variety_is_relative_to_real_images():
    all_greys, half = measured(Grey(1.0)), measured(Grey(0.5))
    assert all_greys["pixel_variety"] == pytest.approx(1, abs=0.25) and all_greys["n"] == 12
    assert half["pixel_variety"] == pytest.approx(all_greys["pixel_variety"] / 2, rel=0.02)
    assert 0 < half["variety"] < all_greys["variety"]


def test_a_g_that_ignores_z_has_no_variety():
    found = measured(Grey(0.0))
    assert found["variety"] == found["pixel_variety"] == 0


def test_a_g_without_noise_cannot_be_measured():
    with pytest.raises(NotMeasurableError, match="reads no noise"):
        measured(Grey(1.0, noise=0))
