"""A picture of the variants of a run with noise: source test images of each class above some transfers of each.

python benchmarks/variants.py RUN FILE.png [--images 2] [--variants 5]
"""

from __future__ import annotations

import argparse

import torch
from PIL import Image
from torch import Tensor

import domtrans


def rows_of(run: domtrans.Run, images: int, variants: int) -> list[Tensor]:
    """The source images, then their transfers as variant 0, 1 and so on, uint8 [N, C, S, S] each."""
    source = domtrans.load_domain(run.registry, run.recipe.source, "test", run.recipe.image_size)
    assert source.labels is not None
    first = [torch.nonzero(source.labels == label)[:images, 0] for label in range(len(source.classes))]
    x = source.batch(torch.cat(first))
    transfers = [(run.variant(number) if number else run).transfer(x) for number in range(variants)]
    return [x.expand(-1, transfers[0].shape[1], -1, -1), *transfers]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--images", type=int, default=2, help="source images of each class")
    parser.add_argument("--variants", type=int, default=5)
    options = parser.parse_args()
    rows = rows_of(domtrans.load(options.run), options.images, options.variants)
    picture = torch.cat([torch.cat(list(row), 2) for row in rows], 1).permute(1, 2, 0)
    large = picture.repeat_interleave(2, 0).repeat_interleave(2, 1).squeeze(2)
    Image.fromarray(large.numpy()).save(options.file, optimize=True)


if __name__ == "__main__":
    main()
