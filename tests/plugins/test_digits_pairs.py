"""The recipes between other domains of digits."""

import numpy as np

from domtrans import find_recipe, override, train
from tiny import bars, registry, write_bars

SMALL = {
    "fit.steps": 1,
    "fit.batch_size": 4,
    "generator.width": 4,
    "discriminator.width": 4,
    "metrics.digits.steps": 1,
    "metrics.digits.batch_size": 4,
    "train.steps": 1,
    "train.batch_size": 4,
}


def test_usps_can_be_given_as_arrays_of_16_pixels(tmp_path):
    """As its downloads hold it: grey images of 16 x 16 pixels, which the recipe enlarges."""
    images, labels = bars(40, channels=1)
    np.savez(tmp_path / "usps.npz", images=images[:, ::2, ::2, 0], labels=labels)
    data = {
        "source": {"name": "arrays", "path": str(tmp_path / "usps.npz"), "holdout": 0.25},
        "target": {"name": "arrays", "path": write_bars(tmp_path / "mnist.npz", channels=1), "holdout": 0.25},
    }
    run = train(override(find_recipe("usps-to-mnist", registry()), data | SMALL, registry()), tmp_path / "run", device="cpu")
    assert run.results["n"] == 8 and run.transfer(images[:2, ::2, ::2]).shape == (2, 32, 32, 1)
