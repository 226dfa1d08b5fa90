"""Folders of images whose red value is their number, and what the domain ``folder`` reads of them."""

from collections import Counter

from PIL import Image

from domtrans import use
from domtrans.data.domains import load_domain
from tiny import registry

SPLITS = ("train", "test")


def put(root, *places):
    """Image files whose red value is their number."""
    for number, place in enumerate(places):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number % 256, number // 256, 0)).save(path, "PNG")


def several(*folders, count=8):
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]


def load(root, split="train", **options):
    return load_domain(registry(), use("folder", path=str(root), **options), split, 4)


def contents(images):
    """The number of every image, by class name; None without classes."""
    numbers = [int(image[0, 0, 0]) + 256 * int(image[1, 0, 0]) for image in images.images]
    if images.labels is None:
        return {None: sorted(numbers)}
    found = {}
    for number, label in zip(numbers, images.labels.tolist(), strict=True):
        found.setdefault(images.classes[label], []).append(number)
    return {name: sorted(members) for name, members in found.items()}


def counts(root, **options):
    """Images by class name in both splits."""
    return [
        Counter({name: len(members) for name, members in contents(load(root, split, **options)).items()}) for split in SPLITS
    ]
