"""The metric ``content``: its numbers by hand, all of the content of G(x) = x, and none of a constant G."""

from types import SimpleNamespace

import numpy as np
import torch

from domtrans import ImageSet, Session
from domtrans_dtn.content import content, correlation, edge_map, share_found
from tiny import bars


def test_edges_are_the_mean_lengths_of_gradients_and_are_compared_by_pearson():
    images = torch.rand(3, 2, 18, 18, generator=torch.Generator().manual_seed(0))
    maps = edge_map(images).numpy()
    for image, found in zip(images.mean(1).numpy(), maps, strict=True):
        down, across = np.gradient(image)
        lengths = np.hypot(down, across)[1:-1, 1:-1]
        expected = lengths.reshape(4, 4, 4, 4).mean((1, 3)).ravel()
        assert np.allclose(found, expected, atol=1e-6)
    expected = np.corrcoef(maps[0], maps[1])[0, 1]
    assert abs(float(correlation(torch.tensor(maps[:1]), torch.tensor(maps[1:2]))) - expected) < 1e-6


def test_ties_are_no_success():
    similarities = torch.tensor([[0.9, 0.1, 0.2], [0.9, 0.5, 0.1], [0.3, 0.3, 0.3]])
    assert [round(3 * share_found(similarities, nearest)) for nearest in (1, 2, 3)] == [1, 2, 3]


def test_a_copy_keeps_all_content_and_a_constant_none():
    images = ImageSet.from_arrays(bars(20)[0], size=32)
    flat = ImageSet(torch.full_like(images.images, 200))
    session = Session.start("cpu", precision="float32")
    kept, lost = (
        content(
            SimpleNamespace(source=images, transferred=fake, target_train=images, session=session),
            steps=2,
            batch_size=8,
            view=lambda images, rng: images,
        )
        for fake in (images, flat)
    )
    assert kept["edges_kept"] > 0.999 and kept["content_top5"] == 1 and kept["gallery"] == 20
    assert lost["edges_kept"] == 0 and lost["content_top5"] == 0 and lost["content_by_chance"] == 0.25
