"""A trained run, loaded: transfer images, encode them, measure. Works without the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from domtrans.data.image_files import to_pil
from domtrans.data.image_set import centre_square, to_float, to_uint8
from domtrans.data.pixels import from_pil
from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import measure, with_other_data
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.runs.folder import RunFolder
from domtrans.runs.hub import fetch, is_on_hub
from domtrans.runs.model_file import read_model
from domtrans.session import Listener, Session
from domtrans.storage.paths import why_no_folder

Images = TypeVar("Images", Tensor, Image.Image, list[Image.Image])


class Run:
    """A trained transfer with its recipe, as ``load`` and ``train`` return it.

    A pickled Run, e.g. for the worker processes of a ``DataLoader``, holds only the name of its file and of its device. It is
    loaded again where it is unpickled, with the plugins that are installed there.

    Attributes:
        path: The run folder.
        file: The model file.
        recipe: The resolved recipe.
        model: The transfer, in eval mode.
        about: What the model file says about its origin.
        results: What was measured at the end of training (results.json). Empty for any model but the last.
        registry: The parts that the recipe was resolved with.
        session: Device and precision.
    """

    def __init__(
        self, file: Path, recipe: Recipe, model: Transfer, about: Mapping[str, Any], registry: Registry, session: Session
    ) -> None:
        self.file, self.path, self.recipe, self.model = file, file.parent, recipe, model.eval()
        self.registry, self.session, self.about = registry, session, about
        folder = RunFolder(self.path)
        self.results: Mapping[str, Any] = (folder.results() or {}) if file == folder.model_file else {}

    def __call__(self, image: Images) -> Images:
        """``transfer`` as a torchvision transform: a tensor may also be a single image [1 or 3, H, W]."""
        if isinstance(image, Tensor) and image.ndim == 3:
            return self.transfer(image[None])[0]
        return self.transfer(image)

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (str(self.file.absolute()), str(self.session.device))

    @torch.no_grad()
    def transfer(self, images: Images) -> Images:
        """G(x), of the type of the input.

        Args:
            images: A tensor [B, 1 or 3, H, W], float in [-1, 1] or uint8; a PIL image; or a list of PIL images. Images of
                another size are cropped to their centre square and resized.

        Returns:
            As many images, of the recipe's size and the target's channels.

        Raises:
            DomtransError: For tensors of another shape or type.
        """
        if isinstance(images, Tensor):
            outputs = self.model(self._as_batch(images))
            return to_uint8(outputs) if images.dtype == torch.uint8 else outputs
        if isinstance(images, Image.Image):
            return to_pil(self.transfer(self._pixels([images])))[0]
        return to_pil(self.transfer(self._pixels(images))) if images else []

    @torch.no_grad()
    def encode(self, images: Tensor | Image.Image | Sequence[Image.Image]) -> Tensor:
        """f(x): standardised features [B, F], float32."""
        if isinstance(images, Image.Image):
            images = [images]
        batch = images if isinstance(images, Tensor) else self._pixels(images)
        return self.model.encoder(self._as_batch(batch))

    def evaluate(self, changes: list[str] | tuple[str, ...] | Mapping[str, Any] = ()) -> dict[str, Any]:
        """Measure the recipe's metrics on test images.

        Args:
            changes: Changes to the source, the target or the metrics of the recipe, e.g. ``{"source": "svhn"}``.

        Returns:
            Metrics by name, the data that they were measured on, and what could not be measured.

        Raises:
            DomtransError: If the data cannot be loaded, or a change concerns what was trained.
        """
        recipe = with_other_data(self.recipe, changes, self.registry) if changes else self.recipe
        with torch.random.fork_rng(devices=[]):  # a metric may seed what it fits; the caller's random state stays
            results = measure(self.model, recipe, self.registry, self.session, self.about.get("classes", ()))
        supervision = self.about.get("supervision")
        return results | ({"supervision": supervision} if isinstance(supervision, str) else {})

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([from_pil(image, self.recipe.image_size) for image in images])

    def _as_batch(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise DomtransError(f"images must be a batch [B, 1 or 3, H, W], not {list(images.shape)}")
        if 0 in images.shape:
            raise DomtransError(f"images of shape {list(images.shape)} hold nothing")
        images = centre_square(images.to(self.session.device), self.recipe.image_size)
        if images.dtype == torch.uint8:
            return to_float(images)
        if not images.is_floating_point():
            raise DomtransError(f"images must be float in [-1, 1] or uint8, not {images.dtype}")
        return images.float()


def load(
    path: str | Path, *, device: str = "auto", registry: Registry | None = None, listeners: tuple[Listener, ...] = ()
) -> Run:
    """Load a run.

    Args:
        path: A run folder; one of its model files, e.g. ``runs/x/best.safetensors``; or ``OWNER/NAME`` (``@REVISION``) of a
            model on a model hub, which needs the extra "hub". A path that exists is never looked up on the hub.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        registry: The parts to build the networks from; by default those of the installed plugins.
        listeners: Called with the progress of measurements.

    Returns:
        The run, ready to transfer images. The training data is not needed.

    Raises:
        DomtransError: If there is no run, it is damaged, it cannot be downloaded, or it needs a plugin that is missing.
    """
    path = fetch(str(path)) if is_on_hub(str(path)) else path
    try:
        file = _model_file(Path(path))
    except OSError as error:  # a folder without permission, a name that is too long for a file
        raise DomtransError(f"the run in {path} cannot be opened: {error.strerror}") from None
    registry = registry or load_plugins().registry
    recipe, model, about = read_model(file, registry)
    train = recipe.train
    session = Session.start(device, precision=train.precision, seed=recipe.seed, listeners=listeners, workers=train.workers)
    return Run(file, recipe, model.to(session.device), about, registry, session)


def _model_file(path: Path) -> Path:
    """The file itself, or the model of the last step in a run folder."""
    if path.suffix == ".safetensors" and path.is_file():
        return path
    folder = RunFolder(path)
    if not path.is_dir():
        raise DomtransError(f"there is no run in {path}: {why_no_folder(path)}")
    if not folder.model_file.is_file():
        folder.recipe()  # raises where there is no run at all
        raise DomtransError(f"the run in {path} has not saved a model yet; continue it with `domtrans train --resume`")
    return folder.model_file


def _load_again(file: str, device: str) -> Run:
    return load(file, device=device)


def as_run(run: Run | str | Path, *, device: str = "auto", registry: Registry | None = None) -> Run:
    """The run itself, or the one that ``load`` finds at a path; ``device`` and ``registry`` are for the latter."""
    return run if isinstance(run, Run) else load(run, device=device, registry=registry)


def evaluate(
    run: Run | str | Path, changes: list[str] | tuple[str, ...] | Mapping[str, Any] = (), *, device: str = "auto"
) -> dict[str, Any]:
    """Measure a run, or the run at a path; see ``Run.evaluate``."""
    return as_run(run, device=device).evaluate(changes)
