"""What the demo shows of a picture: x, G(x), the nearest real target images, and what f sees. Knows nothing of the web."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.data.batches import evenly
from domtrans.data.domains import load_domain
from domtrans.data.image_files import decode_image, from_pil, to_pil
from domtrans.data.image_set import to_float, to_uint8
from domtrans.errors import DomtransError
from domtrans.interfaces import head_sizes
from domtrans.runs.examples import REAL, SHOWN, read_examples
from domtrans.runs.folder import RunFolder
from domtrans.runs.run import Run

NEAREST = 6
"""Real target images that are shown beside G(x)."""
TOLD = 4
"""Classes of f's opinion that are shown, the likeliest."""

Opinion = list[tuple[str, float]]
"""Classes with f's probabilities, likeliest first; or of every attribute the likeliest value; empty where f has no head."""


@dataclass(frozen=True)
class Look:
    """One transfer, ready to be shown. Images are PNG in base64.

    ``seen``: every picture as f sees it. ``made``: G. ``nearest``: real target training images with the cosine of their
    features and those of G(x), nearest first. ``x_opinion``: of what g was given, ``made_opinion``: of G(x).
    ``milliseconds``: what all of it took.
    """

    seen: list[str]
    made: str
    nearest: list[tuple[str, float]]
    x_opinion: Opinion
    made_opinion: Opinion
    milliseconds: float


class Demo:
    """A run, the images around it, and how to transfer a stranger's picture with it.

    ``examples``: some source test images, PNG in base64. ``gaps``: sentences on what cannot be shown, e.g. for want of data.
    ``bends``: whether features may be mixed and scaled on their way to g, which they may where G contains f.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.gaps = run, list[str]()
        self.bends = not run.model.generator.reads_images
        self.examples = self._examples()
        self.real, self.real_features = self._real()
        self.classes = run.model.encoder.classes()

    @torch.no_grad()
    def transfer(self, pictures: Sequence[bytes], *, blend: float = 0.0, strength: float = 1.0) -> Look:
        """Transfer an encoded picture, or two: g(strength * ((1 - blend) f(a) + blend f(b))).

        Standardised features of strength 0 are those of the mean source image. ``blend`` and ``strength`` change nothing
        where G does not contain f. Raises DomtransError for a picture that cannot be read, or has too many pixels.
        """
        began, f, run = time.perf_counter(), self.run.model.encoder, self.run
        x = torch.stack([from_pil(decode_image(io.BytesIO(one), "the picture"), run.recipe.image_size) for one in pictures])
        images = to_float(x.to(run.session.device))
        features = f(images)
        given = torch.lerp(features[:1], features[-1:], blend) * strength if self.bends else features[:1]
        made = to_uint8(run.model.generator(given) if self.bends else run.model(images[:1]))
        made_features = f(to_float(made))
        return Look(
            seen=[png(one) for one in x],
            made=png(made[0]),
            nearest=self._nearest(made_features),
            x_opinion=self._opinion(given),
            made_opinion=self._opinion(made_features),
            milliseconds=1000 * (time.perf_counter() - began),
        )

    def pace(self) -> float:
        """Milliseconds that a picture takes, the median of five."""
        picture = base64.b64decode(self.examples[0] if self.examples else png(torch.zeros(3, 32, 32)))
        self.transfer([picture])  # the first one warms up
        return median(self.transfer([picture]).milliseconds for _ in range(5))

    def _examples(self) -> list[str]:
        """Source test images as the run kept them, else from the data."""
        run = self.run
        try:
            kept = read_examples(RunFolder(run.path).examples_file)
            return [png(image) for image in kept.source[: kept.even]]
        except DomtransError:
            pass
        try:
            test = load_domain(run.registry, run.recipe.source, "test", run.recipe.image_size)
        except DomtransError as error:
            self.gaps.append(f"No examples: {error}.")
            return []
        return [png(image) for image in test.batch(evenly(len(test), SHOWN))]

    def _real(self) -> tuple[Tensor, Tensor]:
        """Target training images, uint8 [N, C, S, S], and their features [N, F], of length 1."""
        run = self.run
        try:
            target = load_domain(run.registry, run.recipe.target, "train", run.recipe.image_size).some(REAL)
        except DomtransError as error:
            self.gaps.append(f"No nearest real images: {error}.")
            return torch.empty(0), torch.empty(0)
        return target.images, F.normalize(run.model.encoder.encode(target))

    def _nearest(self, features: Tensor) -> list[tuple[str, float]]:
        if not len(self.real):
            return []
        alike = (self.real_features @ F.normalize(features)[0]).topk(min(NEAREST, len(self.real)))
        return [(png(self.real[k]), value) for k, value in zip(alike.indices.tolist(), alike.values.tolist(), strict=True)]

    def _opinion(self, features: Tensor) -> Opinion:
        if not self.classes:
            return []
        heads = self.run.model.encoder.encoder.heads
        logits = self.run.model.encoder.classify(features)[0].split(head_sizes(heads))
        rows: Opinion = []
        for (head, values), probabilities in zip(heads.items(), (logit.softmax(0) for logit in logits), strict=True):
            best = probabilities.topk(min(TOLD, len(probabilities)) if head == "class" else 1)
            names = self._value_names(head, range(values) if isinstance(values, int) else values)
            rows += [(names[k], share) for k, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        return rows

    def _value_names(self, head: str, values: Sequence[str] | range) -> list[str]:
        """The values of a head as they are shown; classes that f only counts have their names from the model file."""
        known = self.run.about.get("classes")
        if head == "class" and isinstance(values, range) and isinstance(known, list) and len(known) == len(values):
            return [str(name) for name in known]
        if head == "class" and not isinstance(values, range):
            return list(values)
        return [f"{head} {value}" if isinstance(value, int) else f"{head}: {value}" for value in values]


def png(image: Tensor) -> str:
    """uint8 [C, H, W] as PNG in base64."""
    encoded = io.BytesIO()
    to_pil(image[None].to(torch.uint8))[0].save(encoded, "PNG", compress_level=1)
    return base64.b64encode(encoded.getvalue()).decode()
