"""What f predicts is declared once; an encoder that only defines logits counts as a classifier."""

import pytest
import torch
from torch import nn

from domtrans import DomtransError, Encoder, FrozenEncoder, head_sizes


class Undeclared(Encoder):
    """An encoder as plugins wrote it before heads were declared, with layers that depend on the mode."""

    channels, feature_size = 3, 4

    def __init__(self, classes=3):
        super().__init__()
        self.classes = classes
        self.head = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, max(classes, 1)))

    def forward(self, images):
        return images.mean((2, 3)).repeat(1, 2)[:, :4]

    def logits(self, features):
        return self.head(features) if self.classes else super().logits(features)


class Headless(Undeclared):
    logits = Encoder.logits


class Attributes(Undeclared):
    heads = {"skin": ("light", "dark"), "age": 1}  # noqa: RUF012


def test_an_encoder_that_only_defines_logits_is_a_classifier():
    encoder = Undeclared().train()
    before, random = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}, torch.get_rng_state()
    assert encoder.heads == {"class": 3} and FrozenEncoder(encoder).classes() == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_asking_for_heads_leaves_every_layer_in_its_mode():
    encoder = Undeclared().train()
    encoder.head[0].eval()
    assert encoder.heads and encoder.training and encoder.head[1].training and not encoder.head[0].training


@pytest.mark.parametrize("encoder", [Headless(), Undeclared(classes=0)])
def test_without_a_head_there_are_no_heads(encoder):
    f = FrozenEncoder(encoder)
    assert encoder.heads == {} and not f.has_head() and f.classes() == 0
    with pytest.raises(DomtransError, match="has no classification head"):
        f.class_condition(torch.zeros(2, 4))


def test_a_discriminator_is_given_one_value_of_every_head():
    f, features = FrozenEncoder(Attributes()), torch.randn(5, 4)
    assert head_sizes(f.encoder.heads) == [2, 1] and f.classes() == 3
    condition = f.class_condition(features)
    assert torch.equal(condition[:, :2].argmax(1), f.classify(features)[:, :2].argmax(1))
    assert torch.equal(condition.sum(1), torch.full((5,), 2.0)) and bool((condition[:, 2] == 1).all())


def test_every_head_has_a_prediction():
    f, features = FrozenEncoder(Attributes()), torch.randn(5, 4)
    found, logits = f.predictions(features), f.classify(features)
    assert found.dtype == torch.int64 and torch.equal(found, torch.stack([logits[:, :2].argmax(1), torch.zeros(5).long()], 1))
    assert f.classifier.head_sizes == (2, 1) and torch.equal(f.classifier(features), logits)


def test_the_old_name_of_the_condition_warns():
    f, features = FrozenEncoder(Attributes()), torch.randn(5, 4)
    with pytest.warns(DeprecationWarning, match="class_condition"):
        assert torch.equal(f.opinion(features), f.class_condition(features))
