"""The metric image-realism, and the distances that it computes."""

import pytest
import torch

from domtrans import (
    DomtransError,
    FrozenEncoder,
    ImageSet,
    MetricInput,
    NotMeasurableError,
    Session,
    Transfer,
    precision_and_recall,
    use,
)
from domtrans.testing import check_metric
from domtrans_dtn.metrics import turned
from made_up_transfers import Headless, ImageFunction
from tiny import bars, registry

METRIC = {"steps": 20, "batch_size": 16}


def images(n, seed, **form):
    return ImageSet.from_arrays(bars(n, channels=1, seed=seed, **form)[0], size=32)


def measured(function, n=60, **options):
    transfer = Transfer(FrozenEncoder(Headless()), ImageFunction(function)).eval()
    session = Session.start("cpu", precision="float32")
    inputs = MetricInput(transfer, images(n, 0), images(200, 1), images(n, 2), session)
    return registry().build("metric", use("image-realism", **METRIC | options))(inputs)


def test_real_images_are_more_real_than_constant_ones():
    same, constant = measured(lambda x: x), measured(lambda x: torch.zeros_like(x))
    assert same["fid"] < constant["fid"] and same["kid"] < constant["kid"]
    assert same["precision"] > 0.6 and same["recall"] > 0.6
    assert constant["recall"] == 0 and constant["diversity"] == 0 and constant["n"] == 60


def test_an_encoder_can_replace_the_fitted_network():
    own = measured(lambda x: x, encoder={"name": "colour-grid", "fields": 2})
    assert own["fid"] >= 0 and own["fid"] != measured(lambda x: x)["fid"]


def test_an_encoder_of_other_channels_is_refused_in_a_sentence():
    several = ImageSet(torch.zeros(20, 4, 32, 32, dtype=torch.uint8))
    transfer = Transfer(FrozenEncoder(Headless()), ImageFunction(lambda x: x.expand(-1, 4, -1, -1))).eval()
    inputs = MetricInput(transfer, images(20, 0), several, several, Session.start("cpu", precision="float32"))
    with pytest.raises(DomtransError, match="images have 4 channels, where 3 are needed"):
        registry().build("metric", use("image-realism", encoder={"name": "colour-grid", "fields": 2}))(inputs)


def test_few_images_are_refused():
    with pytest.raises(NotMeasurableError, match="needs 10 test images of each domain, and there are 9"):
        measured(lambda x: x, n=9)


def test_image_realism_keeps_the_contracts_of_metrics():
    check_metric(registry(), "image-realism", steps=2, batch_size=8)


def test_image_i_is_rotated_by_i_quarter_turns():
    batch = torch.rand(6, 1, 8, 8)
    rotated = turned(batch, None, view=lambda images, _: images)
    for number, image in enumerate(batch):
        assert torch.equal(rotated[number], image.rot90(number % 4, (1, 2)))


def test_precision_and_recall_by_hand():
    """With one neighbour, every point covers the ball that reaches to its nearest neighbour."""
    real = torch.tensor([[0.0], [1.0], [10.0]])  # radii 1, 1, 9
    generated = torch.tensor([[0.5], [30.0]])  # radii 29.5 each
    precision, recall = precision_and_recall(generated, real, neighbours=1)
    assert precision == pytest.approx(1 / 2)
    assert recall == pytest.approx(1.0)
    assert precision_and_recall(torch.tensor([[100.0], [100.5]]), real, neighbours=1) == (0.0, 0.0)
