"""The content of the demo: x, G(x), f's predictions, the nearest real target images, and drawings that can be edited.

It knows nothing about the web.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.data.batches import evenly
from domtrans.data.domains import load_domain
from domtrans.data.image_files import decode_image, to_pil
from domtrans.data.image_set import to_float, to_uint8
from domtrans.data.pixels import from_pil
from domtrans.errors import DomtransError
from domtrans.interfaces import head_sizes
from domtrans.runs.examples import EXAMPLES_OF_A_KIND, MAX_TARGET_IMAGES, read_examples
from domtrans.runs.folder import RunFolder
from domtrans.runs.run import Run

NEAREST_IMAGES = 6
"""Real target images shown beside G(x)."""
TOP_CLASSES = 4
"""Most likely classes shown."""
TIMED_TRANSFERS = 5

Prediction = list[tuple[str, float]]
"""The most likely classes, or the most likely value of each attribute, with f's probabilities. Empty if f has no head."""


@dataclass(frozen=True)
class DemoDrawing:
    """A drawing by the target's engine.

    Attributes:
        svg: The SVG, in base64.
        parameters: The value of every slot.
        hidden: The slots that do not show.
        file: The text of the file of parameters that ``domtrans render`` draws.
    """

    svg: str
    parameters: Mapping[str, str]
    hidden: list[str]
    file: str


@dataclass(frozen=True)
class DemoResult:
    """One transfer. Images are PNG in base64.

    Attributes:
        inputs: Every input as f gets it.
        output: G of the inputs.
        nearest: Real target training images and the cosine of their features with those of the output, nearest first.
        input_prediction: f's prediction for the features that g got.
        output_prediction: f's prediction for the output.
        milliseconds: Time of the whole transfer.
        drawing: The output as a drawing; None if g draws pixels.
    """

    inputs: list[str]
    output: str
    nearest: list[tuple[str, float]]
    input_prediction: Prediction
    output_prediction: Prediction
    milliseconds: float
    drawing: DemoDrawing | None = None


class Demo:
    """A run with example images, ready to transfer a visitor's images.

    Attributes:
        run: The run.
        examples: Source test images, PNG in base64.
        missing: Sentences on what the demo cannot show, e.g. because the data is not available.
        slots: The slots of the target's engine, if it draws the images of G; else empty.
        can_edit_features: Whether features can be blended and scaled before g, which needs a G that contains f.
        has_prediction: Whether f has a head.
        target_images: Real target training images, uint8 [N, C, S, S]; empty if they are not available.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.missing = run, list[str]()
        self.can_edit_features = not run.model.generator.reads_images
        self.has_prediction = run.model.encoder.has_head()
        self.slots = dict(run.engine.engine.space.slots) if run.draws_by_parameters else {}
        self.examples = self._load_examples()
        self.target_images, self._target_features = self._load_target()

    @torch.no_grad()
    def transfer(self, images: Sequence[bytes], *, blend: float = 0.0, strength: float = 1.0) -> DemoResult:
        """Transfer one encoded image, or two: g(strength * ((1 - blend) f(a) + blend f(b))).

        Args:
            images: One or two image files.
            blend: Weight of the second image, in [0, 1].
            strength: Factor of the standardised features; 0 gives the features of the mean source image.

        ``blend`` and ``strength`` have no effect if G does not contain f.

        Raises:
            DomtransError: If an image cannot be read or has too many pixels.
        """
        start, f, run = time.perf_counter(), self.run.model.encoder, self.run
        decoded = [decode_image(io.BytesIO(image), "the input") for image in images]
        x = torch.stack([from_pil(image, run.recipe.image_size, aspect=run.aspect) for image in decoded])
        x_float = to_float(x.to(run.session.device))
        features = f(x_float)
        blended = torch.lerp(features[:1], features[-1:], blend) * strength
        features = blended if self.can_edit_features else features[:1]
        output, drawing = self._generate(x_float[:1], features)
        output_features = f(to_float(output))
        return DemoResult(
            inputs=[encode_png(image) for image in x],
            output=encode_png(output[0]),
            nearest=self._nearest(output_features),
            input_prediction=self._predict(features),
            output_prediction=self._predict(output_features),
            milliseconds=1000 * (time.perf_counter() - start),
            drawing=drawing,
        )

    def _generate(self, x: Tensor, features: Tensor) -> tuple[Tensor, DemoDrawing | None]:
        """The output, uint8 [1, C, S, S], from the features or, if G does not contain f, from x [1, C, S, S]; its drawing."""
        run, model, from_features = self.run, self.run.model, self.can_edit_features
        if not run.draws_by_parameters:
            return to_uint8(model.generator(features) if from_features else model(x)), None
        (indices,) = (model.indices_of_features(features) if from_features else model.parameter_indices(x)).tolist()
        drawing = run.engine.draw(run.engine.engine.space.parameters(indices))
        picture = torch.from_numpy(drawing.pixels(x.shape[-1])).permute(2, 0, 1)
        return picture[None].to(x.device), self.draw(drawing.parameters)

    def draw(self, parameters: Mapping[str, str]) -> DemoDrawing:
        """The drawing of these parameters. Raises DomtransError if the target's engine does not take them."""
        drawing = self.run.drawing(parameters)
        return DemoDrawing(
            svg=base64.b64encode(drawing.to_svg().encode()).decode(),
            parameters=drawing.parameters,
            hidden=sorted(drawing.named_engine.engine.space.hidden(drawing.parameters)),
            file=drawing.to_json(),
        )

    def median_milliseconds(self) -> float:
        """Median time of a transfer."""
        image = base64.b64decode(self.examples[0] if self.examples else encode_png(torch.zeros(3, 32, 32)))
        self.transfer([image])  # warm-up
        return median(self.transfer([image]).milliseconds for _ in range(TIMED_TRANSFERS))

    def _load_examples(self) -> list[str]:
        """Source test images from the run folder or, if it has none, from the data."""
        run = self.run
        try:
            stored = read_examples(RunFolder(run.path).examples_file)
            return [encode_png(image) for image in stored.source[: stored.even]]
        except DomtransError:
            pass
        try:
            test = load_domain(run.registry, run.recipe.source, "test", run.recipe.image_size)
        except DomtransError as error:
            self.missing.append(f"No examples: {error}.")
            return []
        return [encode_png(image) for image in test.batch(evenly(len(test), EXAMPLES_OF_A_KIND))]

    def _load_target(self) -> tuple[Tensor, Tensor]:
        """Target training images, uint8 [N, C, S, S], and their features, flattened to vectors of length 1."""
        run = self.run
        try:
            target = load_domain(run.registry, run.recipe.target, "train", run.recipe.image_size).some(MAX_TARGET_IMAGES)
        except DomtransError as error:
            self.missing.append(f"No nearest real images: {error}.")
            return torch.empty(0), torch.empty(0)
        return target.images, F.normalize(run.model.encoder.encode(target).flatten(1))

    def _nearest(self, features: Tensor) -> list[tuple[str, float]]:
        if not len(self.target_images):
            return []
        cosines = self._target_features @ F.normalize(features.flatten(1))[0]
        best = cosines.topk(min(NEAREST_IMAGES, len(cosines)))
        images = [encode_png(self.target_images[k]) for k in best.indices.tolist()]
        return list(zip(images, best.values.tolist(), strict=True))

    def _predict(self, features: Tensor) -> Prediction:
        if not self.has_prediction:
            return []
        heads = self.run.model.encoder.encoder.heads
        logits = self.run.model.encoder.classify(features)[0].split(head_sizes(heads))
        rows: Prediction = []
        for (head, values), probabilities in zip(heads.items(), (logit.softmax(0) for logit in logits), strict=True):
            best = probabilities.topk(min(TOP_CLASSES, len(probabilities)) if head == "class" else 1)
            names = self._value_names(head, range(values) if isinstance(values, int) else values)
            rows += [(names[k], share) for k, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        return rows

    def _value_names(self, head: str, values: Sequence[str] | range) -> list[str]:
        """The values of a head as text. Where f knows only their number, class names come from the model file."""
        known = self.run.about.get("classes")
        if head == "class" and isinstance(values, range) and isinstance(known, list) and len(known) == len(values):
            return [str(name) for name in known]
        if head == "class" and not isinstance(values, range):
            return list(values)
        return [f"{head} {value}" if isinstance(value, int) else f"{head}: {value}" for value in values]


def encode_png(image: Tensor) -> str:
    """uint8 [C, H, W] as PNG in base64."""
    file = io.BytesIO()
    to_pil(image[None].to(torch.uint8))[0].save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()
