"""The frozen encoder f with its standardisation, and the transfer G(x) = g(f(x))."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domtrans.compute.device import to_float64
from domtrans.compute.distributed import SINGLE_PROCESS, Group
from domtrans.data.batches import evenly
from domtrans.data.engine import DrawingEngine
from domtrans.data.image_set import ImageSet, inference_batches, to_channels, to_float, to_uint8
from domtrans.errors import DomtransError
from domtrans.interfaces import Classifier, Encoder, Generator, head_sizes

MAX_STATISTICS_IMAGES = 20_000
"""Images, at most, for means and covariances of feature vectors: enough for a standard deviation to within 1 %."""
MAX_STATISTICS_MAPS = 1_000
"""The same for feature maps, which have a vector at every position and take more memory."""

OnBatch = Callable[[int, int], object]
"""Called at the start of a pass over images and after every batch, with the number of images done and of all images. It may
raise Stopped."""


class FrozenEncoder(nn.Module):
    """f as g and the losses use it: its weights are fixed, it is in eval mode, and its features are standardised.

    Mean and deviation are of the source set, so that a loss weight means the same for every f. Those of maps are of every
    channel, over all positions. Gradients reach the images.

    Args:
        encoder: f, fitted.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        size, *positions = encoder.feature_shape
        self.register_buffer("mean", torch.zeros(size, *[1] * len(positions)))
        self.register_buffer("std", torch.ones(size, *[1] * len(positions)))

    @property
    def feature_size(self) -> int:
        """F, the length of a feature vector; DomtransError for an f that gives maps."""
        return self.encoder.feature_size

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of the features of one image: ``(F,)``, or ``(C, h, w)`` for maps."""
        return self.encoder.feature_shape

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Stay in eval mode, whatever the mode of the module that holds f."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] to standardised features [B, F] or maps [B, C, h, w], float32."""
        features = self.encoder(to_channels(images, self.encoder.channels))
        return (features.float() - self.mean) / self.std

    def classify(self, features: Tensor) -> Tensor:
        """Logits of all heads of f, side by side.

        Args:
            features: Standardised features [B, F], or maps [B, C, h, w].

        Returns:
            float32 [B, K].

        Raises:
            DomtransError: If f has no head.
        """
        return self.encoder.logits(features * self.std + self.mean).float()

    @property
    def classifier(self) -> Classifier:
        """``classify`` with the sizes of the heads, as losses and distances get it."""
        return Classifier(self.classify, tuple(head_sizes(self.encoder.heads)))

    @torch.no_grad()
    def predictions(self, features: Tensor) -> Tensor:
        """The most likely value of every head.

        Args:
            features: Standardised features [B, F], or maps [B, C, h, w].

        Returns:
            int64 [B, number of heads], in the order of f's ``heads``.

        Raises:
            DomtransError: If f has no head.
        """
        logits = self.classify(features).split(head_sizes(self.encoder.heads), 1)
        return torch.stack([logit.argmax(1) for logit in logits], 1)

    @torch.no_grad()
    def class_condition(self, features: Tensor) -> Tensor:
        """What a class-conditional discriminator is given: the most likely value of every head, one-hot.

        Args:
            features: Standardised features [B, F].

        Returns:
            float32 [B, K], with a 1 for each head.

        Raises:
            DomtransError: If f has no head.
        """
        values, sizes = self.predictions(features).unbind(1), head_sizes(self.encoder.heads)
        return torch.cat([F.one_hot(value, size) for value, size in zip(values, sizes, strict=True)], 1).float()

    def opinion(self, features: Tensor) -> Tensor:
        """The former name of ``class_condition``."""
        warnings.warn("FrozenEncoder.opinion is now called class_condition", DeprecationWarning, stacklevel=2)
        return self.class_condition(features)

    def classes(self) -> int:
        """K, the number of logits of f's heads; 0 without a head."""
        return sum(head_sizes(self.encoder.heads))

    def has_head(self) -> bool:
        """Whether f predicts classes or attributes."""
        return bool(self.encoder.heads)

    @torch.no_grad()
    def standardize(self, source: ImageSet, *, on_batch: OnBatch | None = None) -> None:
        """Measure mean and standard deviation of every feature, or channel of a map, over ``statistics_sample(source)``.

        Args:
            source: The images.
            on_batch: See OnBatch.

        Raises:
            DomtransError: If a feature is not a finite number.
        """
        raw = to_float64(self.encode(self.statistics_sample(source), on_batch=on_batch) * self.std + self.mean)
        if not bool(torch.isfinite(raw).all()):
            raise DomtransError(
                "the encoder gives features that are not finite numbers on the source images; check its weights"
            )
        over = (0, *range(2, raw.ndim))
        self.mean.copy_(raw.mean(over).view_as(self.mean))
        # The floor keeps a feature that never fires from becoming amplified noise.
        deviation = raw.std(over)
        self.std.copy_(deviation.clamp_min(max(1e-6, 0.01 * float(deviation.mean()))).view_as(self.std))

    def statistics_sample(self, images: ImageSet) -> ImageSet:
        """The images for means and covariances of features: evenly spread, at most 20,000, or 1,000 if f gives maps."""
        most = MAX_STATISTICS_IMAGES if len(self.feature_shape) == 1 else MAX_STATISTICS_MAPS
        return images if len(images) <= most else images.take(evenly(len(images), most))

    @torch.no_grad()
    def encode(self, images: ImageSet, *, on_batch: OnBatch | None = None) -> Tensor:
        """Standardised features [N, F], or maps [N, C, h, w], of a whole set, float32, on the device of f.

        Args:
            images: N images.
            on_batch: See OnBatch.
        """
        device = self.mean.device
        batches = _batches(images, inference_batches(len(images), device), on_batch)
        return torch.cat([self(to_float(batch.to(device))) for batch in batches])


class Transfer(nn.Module):
    """G: images of the source domain to images of the target domain.

    Args:
        encoder: f.
        generator: g.
        engine: What draws the images from g's parameters; None for a g that draws pixels.
    """

    def __init__(self, encoder: FrozenEncoder, generator: Generator, engine: DrawingEngine | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator
        self.engine = engine

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] to target images [B, C, size, size] in [-1, 1]."""
        return self.generator(to_channels(images, 3) if self.generator.reads_images else self.encoder(images))

    def parameter_indices(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] to the parameters of their transfers: int64 [B, S], an index for every slot.

        Raises:
            DomtransError: If g does not draw by parameters.
        """
        return self.indices_of_features(self.encoder(images))

    def indices_of_features(self, features: Tensor) -> Tensor:
        """Standardised features [B, F] to the parameters that g gives them: int64 [B, S]."""
        return self.generator.parameter_indices(features)

    @torch.no_grad()
    def apply_to(self, images: ImageSet, *, group: Group = SINGLE_PROCESS, on_batch: OnBatch | None = None) -> Tensor:
        """G of every image of a set, in eval mode. If g draws by parameters, the engine draws the images.

        Args:
            images: N images.
            group: The processes that share the work. Each of them gets all images.
            on_batch: See OnBatch.

        Returns:
            uint8 [N, C, size, size], on the CPU.
        """
        self.eval()
        device = self.encoder.mean.device
        blocks = _batches(images, group.my_part(inference_batches(len(images), device)), on_batch)
        return group.all_gather([self.pictures(to_float(block.to(device))) for block in blocks])

    @torch.no_grad()
    def parameters_of(self, images: ImageSet) -> list[dict[str, str]]:
        """The parameters of G(x) for every image of a set, in eval mode; empty if g draws pixels."""
        if self.engine is None:
            return []
        self.eval()
        device, space = self.encoder.mean.device, self.engine.space
        blocks = (to_float(images.batch(index).to(device)) for index in inference_batches(len(images), device))
        return [space.parameters(row) for block in blocks for row in self.parameter_indices(block).tolist()]

    @property
    def drawn_by(self) -> str:
        """What draws the final images, and from which parameters; empty for pixels."""
        if self.engine is None:
            return ""
        return f"{self.engine.version or type(self.engine).__name__}, from the parameters of G(x)"

    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, size, size] to final images of the target: uint8 [B, C, size, size], on the CPU."""
        if self.engine is None:
            return to_uint8(self(images)).cpu()
        rows, size = self.parameter_indices(images).tolist(), images.shape[-1]
        drawings = [self.engine.rasterise(self.engine.space.parameters(row), size) for row in rows]
        return torch.from_numpy(np.stack(drawings)).permute(0, 3, 1, 2).contiguous()


def _batches(images: ImageSet, indices: Sequence[Tensor], on_batch: OnBatch | None) -> Iterator[Tensor]:
    """The batches, with calls of ``on_batch`` around the work that the caller does on each."""
    done, count = 0, sum(map(len, indices))
    report = on_batch or (lambda *_: None)
    report(done, count)
    for index in indices:
        yield images.batch(index)
        done += len(index)
        report(done, count)
