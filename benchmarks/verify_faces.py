"""Measure how well an encoder verifies whether two photographs show the same person, and its speed on one thread.

python benchmarks/verify_faces.py ../shared/data/lfw/lfw_480ids_160px.zip dlib-resnet path=FILE
python benchmarks/verify_faces.py ../shared/data/lfw/lfw_480ids_160px.zip mobilefacenet path=FILE crop=0.7 --size 64

The archive has one folder of images per person. Pairs are sampled as in LFW (Huang, Ramesh, Berg, Learned-Miller: Labeled
Faces in the Wild, 2007): ten sets of people, each with 300 pairs of the same person and 300 of different people. The threshold
of a set is the best one for the other nine. The features of an image and of its mirror image are added. Pairs are compared by
the cosine of these sums, after subtracting their mean over the other nine sets.
"""

import argparse
import json
import platform
import time
import zipfile
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from domtrans import DomtransError, Encoder, ImageSet, load_plugins, to_float, use

SETS, PAIRS = 10, 300


def main() -> None:
    """Print the accuracy, and images per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", help="a zip with one folder of images per person")
    parser.add_argument("encoder", help="a registered encoder")
    parser.add_argument("options", nargs="*", metavar="option=value", help="options of the encoder")
    parser.add_argument("--size", type=int, default=160, help="side in pixels to which images are resized first (160)")
    parser.add_argument("--people", default=":", metavar="FROM:TO", help="only these people, in sorted order")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, people = read_faces(args.archive, args.people, args.size)
    f = build(args.encoder, dict(option.split("=", 1) for option in args.options), args.size)
    features = encode(f, images)
    accuracies = verify(features, people)
    count = f"{len(images)} images of {people.max() + 1} people at {args.size} pixels"
    print(f"{args.encoder} {' '.join(args.options)}: {count}")
    print(f"accuracy {accuracies.mean():.2%}, from {accuracies.min():.1%} to {accuracies.max():.1%} over the ten sets")
    forward, both = speed(f, images)
    print(f"{platform.machine()}, one thread: {forward:.0f} images/s, {both:.0f} with the gradient with respect to the pixels")


def read_faces(archive: str, people: str, size: int) -> tuple[ImageSet, np.ndarray]:
    """Images, and the number of the person in each."""
    first, last = (int(bound) if bound else None for bound in people.split(":"))
    with zipfile.ZipFile(archive) as file:
        names = [name for name in sorted(file.namelist()) if name.lower().endswith((".jpg", ".png"))]
        selected = sorted({name.rpartition("/")[0] for name in names})[first:last]
        names = [name for name in names if name.rpartition("/")[0] in set(selected)]
        pixels = np.stack([np.asarray(Image.open(BytesIO(file.read(name))).convert("RGB")) for name in names])
    return ImageSet.from_arrays(pixels, size=size), np.array([selected.index(name.rpartition("/")[0]) for name in names])


def build(name: str, options: dict[str, str], size: int) -> Encoder:
    """Build the encoder with its published weights, as in a training."""
    values = {}
    for option, value in options.items():
        try:
            values[option] = json.loads(value)
        except ValueError:
            values[option] = value
    f = load_plugins().registry.build("encoder", use(name, **values), size, 0)
    f.load_pretrained()
    return f.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.no_grad()
def encode(f: Encoder, images: ImageSet) -> np.ndarray:
    """[N, F]: the features of every image plus those of its mirror image."""
    blocks = (to_float(block) for block in images.images.split(64))
    return torch.cat([f(block) + f(block.flip(3)) for block in blocks]).double().numpy()


def verify(features: np.ndarray, people: np.ndarray) -> np.ndarray:
    """The accuracy for each set of people."""
    rng = np.random.default_rng(0)
    sets = np.array_split(rng.permutation(people.max() + 1), SETS)
    pairs = [sample_pairs(people, members, rng) for members in sets]
    accuracies = []
    for held_out, members in zip(range(SETS), sets, strict=True):
        centred = features - features[~np.isin(people, members)].mean(0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        similarity = [(centred[a] * centred[b]).sum(1) for a, b, _ in pairs]
        others = [i for i in range(SETS) if i != held_out]
        same = np.concatenate([pairs[i][2] for i in others])
        threshold = best_threshold(np.concatenate([similarity[i] for i in others]), same)
        accuracies.append(((similarity[held_out] > threshold) == pairs[held_out][2]).mean())
    return np.array(accuracies)


def sample_pairs(people: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """For each pair of a set: the indices of two images, and whether they show the same person."""
    images = {person: np.flatnonzero(people == person) for person in members}
    several = [person for person in members if len(images[person]) > 1]
    same = [rng.choice(images[person], 2, replace=False) for person in rng.choice(several, PAIRS)]
    strangers = [rng.choice(members, 2, replace=False) for _ in range(PAIRS)]
    different = [(rng.choice(images[a]), rng.choice(images[b])) for a, b in strangers]
    first, second = np.array([*same, *different]).T
    return first, second, np.arange(2 * PAIRS) < PAIRS


def best_threshold(similarity: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the highest accuracy; pairs above it are predicted to show the same person."""
    order = np.argsort(similarity)
    correct = np.cumsum(~same[order]) + same.sum() - np.cumsum(same[order])
    return similarity[order][correct.argmax()]


def speed(f: Encoder, images: ImageSet, batch_size: int = 32) -> tuple[float, float]:
    """Images per CPU second of f, and with the gradient with respect to the images; the best of five."""
    batch = to_float(images.images[:batch_size])
    rates = []
    for gradient in (False, True):
        seconds = []
        for _ in range(6):
            start = time.process_time()
            with torch.set_grad_enabled(gradient):
                features = f(batch.requires_grad_(gradient))
                if gradient:
                    torch.autograd.grad(features.square().sum(), batch)
            seconds.append(time.process_time() - start)
        rates.append(batch_size / min(seconds[1:]))
    return rates[0], rates[1]


if __name__ == "__main__":
    try:
        main()
    except DomtransError as error:
        raise SystemExit(f"{error}") from None
