"""The fit ``self-supervised``: its loss by hand, views of one image that come together, and no use of labels."""

import math

import torch
from torch.nn.functional import normalize

from domtrans import ImageSet, Session, use
from domtrans_dtn.self_supervised import nt_xent
from tiny import bars, registry


def test_nt_xent_is_equation_1_of_simclr():
    a, b = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    views = [vector / vector.norm() for vector in (*a, *b)]
    total = 0.0
    for i in range(6):
        j = (i + 3) % 6
        others = sum(math.exp(float(views[i] @ views[k]) / 0.5) for k in range(6) if k != i)
        total -= math.log(math.exp(float(views[i] @ views[j]) / 0.5) / others)
    assert abs(float(nt_xent(a, b, 0.5)) - total / 6) < 1e-6


def test_two_views_of_an_image_become_more_similar_than_two_images():
    source, target = (ImageSet.from_arrays(bars(32, channels=c, seed=c)[0], size=32) for c in (3, 1))
    torch.manual_seed(0)
    f = registry().build("encoder", use("digit-encoder"), 32, 0)
    view = registry().build("augmentation", use("warp", rotate=0, scale=0.1, shear=0, shift=0.05))
    images = source.images / 127.5 - 1

    def margin():
        """How much more similar two views of a bar are than bars at different places."""
        with torch.no_grad():
            a, b = (normalize(f(view(images, torch.Generator().manual_seed(seed)))) for seed in (1, 2))
        cosines = a @ b.T
        other = (torch.arange(32)[:, None] - torch.arange(32)) % 4 != 0
        return float(cosines.diagonal().mean() - cosines[other].mean())

    before = margin()
    fit = registry().build("fit", use("self-supervised", steps=12, batch_size=12, view=use("warp", shift=0.05).model_dump()))
    fit(f, source, Session.start("cpu", precision="float32"), target)
    assert margin() > before + 0.1
