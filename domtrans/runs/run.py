"""A trained run, loaded: transfer images, encode them, measure. Works without the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from domtrans.data.image_files import from_pil, to_pil
from domtrans.data.image_set import centre_square, to_float, to_uint8
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

Images = TypeVar("Images", Tensor, Image.Image, list[Image.Image])


class Run:
    """A trained transfer with its recipe. Made by ``load`` and ``train``.

    ``path``: its folder. ``file``: the model's. ``recipe``: resolved. ``results``: figures measured at the end of training,
    or empty; they are the last model's. ``about``: what the model file says of where it comes from.
    Pickled, as for the worker processes of a ``DataLoader``, it is no more than the name of its file and of its device, and
    is loaded again where it arrives, with the plugins installed there.
    """

    def __init__(
        self, file: Path, recipe: Recipe, model: Transfer, about: Mapping[str, Any], registry: Registry, session: Session
    ) -> None:
        self.file, self.path, self.recipe, self.model = file, file.parent, recipe, model.eval()
        self.registry, self.session, self.about = registry, session, about
        folder = RunFolder(self.path)
        self.results: Mapping[str, Any] = (folder.results() or {}) if file == folder.model_file else {}

    def __call__(self, image: Images) -> Images:
        """As a transform of torchvision: like ``transfer``, and a tensor may be one image [1 or 3, H, W] alone."""
        if isinstance(image, Tensor) and image.ndim == 3:
            return self.transfer(image[None])[0]
        return self.transfer(image)

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (str(self.file.absolute()), str(self.session.device))

    @torch.no_grad()
    def transfer(self, images: Images) -> Images:
        """G of images, in what they came in: a tensor [B, 1 or 3, H, W] of floats or uint8, a PIL image, or a list.

        Floats are in [-1, 1]. Images of another size are cropped to their centre square and resized.
        Raises DomtransError for tensors of another shape or type.
        """
        if isinstance(images, Tensor):
            made = self.model(self._as_batch(images))
            return to_uint8(made) if images.dtype == torch.uint8 else made
        if isinstance(images, Image.Image):
            return to_pil(self.transfer(self._pixels([images])))[0]
        return to_pil(self.transfer(self._pixels(images))) if images else []

    @torch.no_grad()
    def encode(self, images: Tensor | Image.Image | Sequence[Image.Image]) -> Tensor:
        """f of images: standardised features [B, F], float32."""
        if isinstance(images, Image.Image):
            images = [images]
        batch = images if isinstance(images, Tensor) else self._pixels(images)
        return self.model.encoder(self._as_batch(batch))

    def evaluate(self, changes: list[str] | tuple[str, ...] | Mapping[str, Any] = ()) -> dict[str, Any]:
        """Measure the recipe's metrics on test images; ``changes`` may name other data, e.g. ``{"source": "svhn"}``."""
        recipe = with_other_data(self.recipe, changes, self.registry) if changes else self.recipe
        with torch.random.fork_rng(devices=[]):  # a metric may seed what it fits; the caller's draws go on as they were
            results = measure(self.model, recipe, self.registry, self.session)
        said = self.about.get("supervision")
        return results | ({"supervision": said} if isinstance(said, str) else {})

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
    """Load a run from its folder, one of its model files, e.g. ``runs/x/best.safetensors``, or a model hub.

    ``path``: of the run, or ``OWNER/NAME``, with ``@REVISION`` if it matters, of a model that ``pack`` prepared; that needs
    the extra "hub". What is there as a file or folder is never sought on the hub.
    Raises DomtransError if it is no run, is damaged, cannot be had, or needs a plugin that is missing.
    """
    path = fetch(str(path)) if is_on_hub(str(path)) else path
    try:
        file = _model_file(Path(path))
    except OSError as error:  # a folder that may not be entered, a name that no file can have
        raise DomtransError(f"the run in {path} cannot be opened: {error.strerror}") from None
    registry = registry or load_plugins().registry
    recipe, model, about = read_model(file, registry)
    train = recipe.train
    session = Session.start(device, precision=train.precision, seed=recipe.seed, listeners=listeners, workers=train.workers)
    return Run(file, recipe, model.to(session.device), about, registry, session)


def _model_file(path: Path) -> Path:
    """The file itself, or the last model of the run in a folder."""
    if path.suffix == ".safetensors" and path.is_file():
        return path
    folder = RunFolder(path)
    if not path.is_dir():
        raise DomtransError(f"there is no run in {path}: no such folder")
    if not folder.model_file.is_file():
        folder.recipe()  # no run at all says so first
        raise DomtransError(f"the run in {path} has not saved a model yet; go on with `domtrans train --resume`")
    return folder.model_file


def _load_again(file: str, device: str) -> Run:
    return load(file, device=device)


def evaluate(
    run: Run | str | Path, changes: list[str] | tuple[str, ...] | Mapping[str, Any] = (), *, device: str = "auto"
) -> dict[str, Any]:
    """Measure a run, or the run in a folder; see ``Run.evaluate``."""
    return (run if isinstance(run, Run) else load(run, device=device)).evaluate(changes)
