"""The frozen f: any image goes in, its weights never change, and its features are standardised over the source."""

import pytest
import torch
from torch import nn

from domtrans import Encoder, FrozenEncoder, ImageSet, Transfer, use
from tiny import bars, registry


class Small(Encoder):
    """An f with layers that depend on the mode."""

    feature_size = 6

    def __init__(self, channels):
        super().__init__()
        self.channels, self.heads = channels, {"class": ("a", "b", "c")}
        self.layers = nn.Sequential(nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        return self.layers(images).flatten(1)

    def logits(self, features):
        return self.head(features)


@pytest.fixture(params=[1, 3])
def frozen(request):
    torch.manual_seed(0)
    return FrozenEncoder(Small(request.param))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_converted_to_the_channels_of_f(frozen, channels):
    images = torch.rand(2, channels, 32, 32) * 2 - 1
    features = frozen(images)
    assert features.shape == (2, frozen.feature_size) and features.dtype == torch.float32 and torch.isfinite(features).all()
    assert frozen.classify(features).shape == (2, 3)
    if channels == 1:
        torch.testing.assert_close(frozen(images.expand(-1, 3, -1, -1)), features)


def test_the_gradient_reaches_the_image_but_no_weight(frozen):
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    frozen(images).square().sum().backward()
    assert torch.isfinite(images.grad).all() and (images.grad.abs().sum((1, 2, 3)) > 0).all()
    assert not any(weight.requires_grad or weight.grad is not None for weight in frozen.parameters())


def test_f_stays_in_eval_mode(frozen):
    transfer = Transfer(frozen, registry().build("generator", use("digit-generator", width=4), 6, 1, 32)).train()
    assert transfer.generator.training and not any(module.training for module in transfer.encoder.modules())


# timm's deep network gives almost the same features for all images while its weights are random.
@pytest.mark.parametrize("name", ["digit-encoder", "timm"])
def test_features_are_standardised_over_the_source(name):
    torch.manual_seed(0)
    frozen = FrozenEncoder(registry().build("encoder", use(name), 32, 10))
    images = ImageSet.from_arrays(bars(16)[0], size=32)
    frozen.standardize(images)
    features = frozen.encode(images)
    # A feature that hardly varies over this set keeps a small deviation; none has a large one.
    rounding = torch.finfo(torch.float32).eps * (frozen.mean / frozen.std).abs().max()
    assert features.mean(0).abs().max() < 1e-3 + rounding and features.std(0).max() < 1.01
    raw = frozen.encoder(torch.from_numpy(bars(16)[0]).permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(features * frozen.std + frozen.mean, raw, atol=1e-4, rtol=1e-4)
    before = frozen.std.clone()
    frozen.standardize(images)
    torch.testing.assert_close(frozen.std, before, rtol=1e-3, atol=1e-6)
