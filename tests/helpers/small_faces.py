"""Small parts and images of faces, and options with which a recipe of faces trains in no time."""

import torch

from domtrans import Attribute, ImageSet, to_float, use
from domtrans_faces.vocabulary import VOCABULARY
from published_weights import published
from tiny import registry

SIZES = [len(values) for values in VOCABULARY.values()]
K = sum(SIZES)
SMALL = {
    "source.count": 16,
    "source.test_count": 8,
    "target.count": 16,
    "target.test_count": 8,
    "encoder.width": 4,
    "encoder.features": 8,
    "fit.steps": 2,
    "fit.batch_size": 4,
    "generator.width": 4,
    "discriminator.width": 4,
    "metrics": {},
    "train.steps": 3,
    "train.batch_size": 4,
    "train.log_every": 1,
    "train.precision": "float32",
}


def encoder(**options):
    torch.manual_seed(0)
    return registry().build("encoder", use("attributes", **{"width": 4, "features": 8} | options), 32, 0)


def faces(n=48, *, known=("skin",)):
    """Plain images whose brightness encodes the skin; the other attributes are unknown (-1)."""
    skin = torch.arange(n) % 3
    shade = torch.tensor([220, 140, 50])[skin]
    pixels = (shade[:, None, None, None] + torch.randint(-20, 20, (n, 3, 32, 32))).to(torch.uint8)
    unknown = torch.full((n,), -1)
    attributes = {name: Attribute(values, skin if name in known else unknown) for name, values in VOCABULARY.items()}
    return ImageSet(pixels, attributes=attributes)


def skin(f, images):
    with torch.no_grad():
        return f.logits(f(to_float(images.images))).split(SIZES, 1)[0].argmax(1)


def probe(**options):
    torch.manual_seed(0)
    backbone = {"name": "mobilefacenet", "path": published("mobilefacenet"), "features": "map"}
    return registry().build("encoder", use("attribute-probe", **{"backbone": backbone, "features": 8} | options), 32, 0)


def assignments(changes):
    return [f"{path}={value}" for path, value in changes.items()]
