"""How often can a recogniser find a person by an avatar at all? The best avatars are chosen by recognisers themselves.

python benchmarks/likeness_bound.py lfw.zip mobilefacenet.safetensors

Every probe of the metric identity-retrieval gets one of 3,000 drawn avatars: a random one, the nearest by dlib's recogniser, or
the nearest by the judge, MobileFaceNet. The last is a bound for any transfer to these drawings, because it is chosen by what is
measured. Then the same among those avatars that have as many labelled attributes of the photograph as any.
"""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

import domtrans
from domtrans_faces.metrics.avatars import target_indices
from domtrans_faces.metrics.identity import gallery_and_probes, ranks_of

SIZE, AVATARS, PEOPLE, PROBES = 64, 3000, 100, 4


@torch.no_grad()
def features(encoder: domtrans.Encoder, images: domtrans.ImageSet) -> Tensor:
    """Raw features of a set of images [N, F]."""
    return torch.cat([encoder(domtrans.to_float(images.batch(index))) for index in torch.arange(len(images)).split(64)])


def closeness(photographs: Tensor, avatars: Tensor) -> Tensor:
    """Cosines [P, N] of features that are standardised within their own domain."""
    a, b = (normalize((one - one.mean(0)) / one.std(0)) for one in (photographs, avatars))
    return a @ b.T


def main(zip_file: str, judge_file: str) -> None:
    """Print a table in Markdown."""
    registry = domtrans.load_plugins().registry
    lfw = domtrans.load_domain(registry, domtrans.use("lfw", path=zip_file), "test", SIZE)
    shares = {"hair_colour": {"black": 3.0, "brown": 3.0, "blond": 2.0, "red": 1.0, "grey": 2.0}}  # as in photo-avatars-dtn
    avatars = domtrans.load_domain(registry, domtrans.use("avatars", shares=shares, count=AVATARS), "train", SIZE)
    parts: Mapping[str, Any] = {"dlib": domtrans.use("dlib-resnet"), "judge": domtrans.use("mobilefacenet", path=judge_file)}
    photographed, drawn = {}, {}
    for name, part in parts.items():
        encoder = registry.build("encoder", part, SIZE, 0)
        encoder.load_pretrained()
        photographed[name], drawn[name] = (features(encoder.eval(), images) for images in (lfw, avatars))
    assert lfw.labels is not None
    gallery, probes, person = gallery_and_probes(lfw.labels, PEOPLE, PROBES)
    wanted = [
        (target_indices(one, avatars.attributes[name]), avatars.attributes[name].index) for name, one in lfw.attributes.items()
    ]
    agreement = torch.stack([(mine[probes, None] == theirs[None]).float() for mine, theirs in wanted]).sum(0)
    matching = agreement == agreement.max(1, keepdim=True).values
    random = torch.rand(len(probes), AVATARS, generator=torch.Generator().manual_seed(0))
    chosen_by = {"random": random} | {name: closeness(photographed[name][probes], drawn[name]) for name in parts}
    mean, deviation = photographed["judge"].mean(0), photographed["judge"].std(0)
    standardised = (drawn["judge"] - mean) / deviation
    faces = ((photographed["judge"] - mean) / deviation)[gallery]
    print("| the person among the first 5 | any avatar | with the labelled attributes |\n|---|---|---|")
    for name, scores in chosen_by.items():
        picks = (scores.argmax(1), scores.masked_fill(~matching, -torch.inf).argmax(1))
        cells = [f"{100 * float((ranks_of(person, standardised[pick], faces) <= 5).double().mean()):.1f} %" for pick in picks]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
