"""How well an encoder tells whether two photographs show one person, and how fast it is, on one thread.

python benchmarks/verify_faces.py ../shared/data/lfw/lfw_480ids_160px.zip dlib-resnet path=FILE
python benchmarks/verify_faces.py ../shared/data/lfw/lfw_480ids_160px.zip mobilefacenet path=FILE crop=0.7 --size 64

The archive has a folder of pictures a person. Pairs are drawn as LFW draws them (Huang, Ramesh, Berg, Learned-Miller:
Labeled Faces in the Wild, 2007): ten sets of people, of each 300 pairs of one person and 300 of two; the threshold for a
set is the best of the other nine. Features of a picture and of its mirror image are added up; pairs are compared by the
angle between the sums, after their mean over the other nine sets is taken off.
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
    """Print the accuracy, and images a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", help="a zip of pictures, a folder a person")
    parser.add_argument("encoder", help="a registered encoder")
    parser.add_argument("options", nargs="*", metavar="option=value", help="the encoder's")
    parser.add_argument("--size", type=int, default=160, help="side in pixels that pictures are made first (160)")
    parser.add_argument("--people", default=":", metavar="FROM:TO", help="only these, counted as sorted")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images, people = read_faces(given.archive, given.people, given.size)
    f = build(given.encoder, dict(option.split("=", 1) for option in given.options), given.size)
    features = encode(f, images)
    accuracies = verify(features, people)
    print(
        f"{given.encoder} {' '.join(given.options)}: {len(images)} pictures of {people.max() + 1} people at {given.size} pixels"
    )
    print(f"accuracy {accuracies.mean():.2%}, from {accuracies.min():.1%} to {accuracies.max():.1%} over the ten sets")
    forward, both = speed(f, images)
    print(f"{platform.machine()}, one thread: {forward:.0f} images/s, {both:.0f} with the gradient to the pixels")


def read_faces(archive: str, people: str, size: int) -> tuple[ImageSet, np.ndarray]:
    """Pictures, and the number of the person in each."""
    first, last = (int(bound) if bound else None for bound in people.split(":"))
    with zipfile.ZipFile(archive) as file:
        names = [name for name in sorted(file.namelist()) if name.lower().endswith((".jpg", ".png"))]
        chosen = sorted({name.rpartition("/")[0] for name in names})[first:last]
        names = [name for name in names if name.rpartition("/")[0] in set(chosen)]
        pixels = np.stack([np.asarray(Image.open(BytesIO(file.read(name))).convert("RGB")) for name in names])
    return ImageSet.from_arrays(pixels, size=size), np.array([chosen.index(name.rpartition("/")[0]) for name in names])


def build(name: str, options: dict[str, str], size: int) -> Encoder:
    """The encoder with its published weights, as the trainer has it."""
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
    """[N, F]: features of every picture plus those of its mirror image."""
    blocks = (to_float(block) for block in images.images.split(64))
    return torch.cat([f(block) + f(block.flip(3)) for block in blocks]).double().numpy()


def verify(features: np.ndarray, people: np.ndarray) -> np.ndarray:
    """The share of pairs that are told rightly, of each set of people."""
    rng = np.random.default_rng(0)
    sets = np.array_split(rng.permutation(people.max() + 1), SETS)
    pairs = [draw_pairs(people, chosen, rng) for chosen in sets]
    accuracies = []
    for held, chosen in zip(range(SETS), sets, strict=True):
        centred = features - features[~np.isin(people, chosen)].mean(0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        alike = [(centred[a] * centred[b]).sum(1) for a, b, _ in pairs]
        others = [i for i in range(SETS) if i != held]
        threshold = best_threshold(np.concatenate([alike[i] for i in others]), np.concatenate([pairs[i][2] for i in others]))
        accuracies.append(((alike[held] > threshold) == pairs[held][2]).mean())
    return np.array(accuracies)


def draw_pairs(people: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Two numbers of pictures, and whether they show one person, for each pair of a set."""
    of = {person: np.flatnonzero(people == person) for person in chosen}
    several = [person for person in chosen if len(of[person]) > 1]
    same = [rng.choice(of[person], 2, replace=False) for person in rng.choice(several, PAIRS)]
    two = [rng.choice(chosen, 2, replace=False) for _ in range(PAIRS)]
    different = [(rng.choice(of[a]), rng.choice(of[b])) for a, b in two]
    first, second = np.array([*same, *different]).T
    return first, second, np.arange(2 * PAIRS) < PAIRS


def best_threshold(alike: np.ndarray, same: np.ndarray) -> float:
    """The similarity that tells most pairs rightly: above it one person, at or below it two."""
    order = np.argsort(alike)
    right = np.cumsum(~same[order]) + same.sum() - np.cumsum(same[order])
    return alike[order][right.argmax()]


def speed(f: Encoder, images: ImageSet, batch_size: int = 32) -> tuple[float, float]:
    """Images a second of processor time through f, and with the gradient back to them; the best of five."""
    batch = to_float(images.images[:batch_size])
    found = []
    for gradient in (False, True):
        seconds = []
        for _ in range(6):
            began = time.process_time()
            with torch.set_grad_enabled(gradient):
                features = f(batch.requires_grad_(gradient))
                if gradient:
                    torch.autograd.grad(features.square().sum(), batch)
            seconds.append(time.process_time() - began)
        found.append(batch_size / min(seconds[1:]))
    return found[0], found[1]


if __name__ == "__main__":
    try:
        main()
    except DomtransError as error:
        raise SystemExit(f"{error}") from None
