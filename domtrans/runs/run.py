"""A trained run, loaded: transfer images, encode them, measure. Works without the training data."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_args, overload

import torch
from PIL import Image
from torch import Tensor

from domtrans.compute.device import autocast, pick_dtype
from domtrans.compute.precision import Precision
from domtrans.data.aspect import Aspect
from domtrans.data.drawings import Drawing, NamedEngine
from domtrans.data.from_python import is_data
from domtrans.data.image_set import to_float
from domtrans.data.parameters import Parameters
from domtrans.data.value_range import ValueRange
from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import measure, with_other_data
from domtrans.interfaces import Generator
from domtrans.model.inference_engine import InferenceEngine, Network, graph_network, pick_engine
from domtrans.model.noise import set_variant
from domtrans.model.transfer import FrozenEncoder, Transfer
from domtrans.progress.display import session_with_display
from domtrans.recipe.data import check_data_is_here, split_off_data, use_data
from domtrans.recipe.schema import Recipe
from domtrans.registry.identity import identity
from domtrans.registry.registry import Registry
from domtrans.runs.folder import RunFolder
from domtrans.runs.inputs import InputReader
from domtrans.runs.notebook import run_html, run_line
from domtrans.runs.projection import ProjectedTransfer, project
from domtrans.session import Listeners, Session, as_listeners

Images = TypeVar("Images")


class Run:
    """A trained transfer with its recipe, as ``load`` and ``train`` return it.

    A pickled Run, e.g. for the worker processes of a ``DataLoader``, holds only the name of its file, its device and its
    variant. It is loaded again where it is unpickled, with the plugins that are installed there.

    Attributes:
        path: The run folder.
        file: The model file.
        recipe: The resolved recipe.
        model: The transfer, in eval mode.
        about: What the model file says about its origin.
        results: What was measured at the end of training (results.json). Empty for any model but the last.
        registry: The parts that the recipe was resolved with.
        session: Device, and the precision of training.
        precision: The precision of ``transfer``.
    """

    def __init__(
        self,
        file: Path,
        recipe: Recipe,
        model: Transfer,
        about: Mapping[str, Any],
        registry: Registry,
        session: Session,
        precision: Precision = "float32",
    ) -> None:
        self.file, self.path, self.recipe = file, file.parent, recipe
        self.model: Transfer = model.eval().to(memory_format=torch.channels_last)  # as in training, and faster
        self.registry, self.session, self.about, self.precision = registry, session, about, precision
        self._projected: Run | None = None
        self._networks: dict[InferenceEngine, Network] = {}
        folder = RunFolder(self.path)
        self.results: Mapping[str, Any] = (folder.results() or {}) if file == folder.model_file else {}

    def __call__(self, image: Images) -> Images:
        """``transfer`` as a torchvision transform: a tensor may also be a single image [1 or 3, H, W]."""
        if isinstance(image, Tensor) and image.ndim == 3:
            single: Any = self.transfer(image[None])[0]
            return single
        return self.transfer(image)

    def __repr__(self) -> str:
        return run_line(self.recipe, self.file, self.results, self.registry)

    def _repr_html_(self) -> str:
        """The run in a notebook: metrics, loss curves and the newest sample grid."""
        return run_html(self.recipe, self.path, self.results, self.registry)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of the log (metrics.jsonl): "step", "seconds" and losses by name."""
        return RunFolder(self.path).metrics()

    def show(self) -> None:
        """Show the run in a notebook; elsewhere, open the newest sample grid in the system's image viewer.

        Raises:
            DomtransError: Outside a notebook, if the run folder has no sample grid.
        """
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            ipython.display.display(self)
            return
        grid = RunFolder(self.path).newest_sample()
        if grid is None:
            raise DomtransError(f"the run in {self.path} has no sample grid to show; train it with `domtrans train --resume`")
        with Image.open(grid) as image:
            image.show(title=self.recipe.name)

    @property
    def encoder(self) -> FrozenEncoder:
        """f, frozen and with standardised features; the network itself is ``run.encoder.encoder``."""
        return self.model.encoder

    @property
    def generator(self) -> Generator:
        """g."""
        return self.model.generator

    @property
    def aspect(self) -> Aspect:
        """How the source made images square that are not: "crop", "pad" or "squeeze"."""
        aspect = self.recipe.source.options.get("aspect", "crop")
        return aspect if aspect in get_args(Aspect) else "crop"

    @overload
    def transfer(
        self,
        images: str | Path,
        *,
        aspect: Aspect | None = None,
        value_range: ValueRange | None = None,
        engine: InferenceEngine = "torch",
    ) -> Image.Image: ...

    @overload
    def transfer(
        self,
        images: Images,
        *,
        aspect: Aspect | None = None,
        value_range: ValueRange | None = None,
        engine: InferenceEngine = "torch",
    ) -> Images: ...

    @torch.no_grad()
    def transfer(
        self,
        images: Any,
        *,
        aspect: Aspect | None = None,
        value_range: ValueRange | None = None,
        engine: InferenceEngine = "torch",
    ) -> Any:
        """G(x), of the type of the input. If G draws by parameters, the target's engine draws the images.

        Images of another size are made square and resized. The values of floats are detected: -1 to 1, 0 to 1 or 0 to 255. If
        they can mean two of these, ``value_range`` must say which.

        Args:
            images: A tensor [B, 1 or 3, H, W]; an array [H, W], [H, W, 1 or 3], [B, H, W], [B, H, W, 1 or 3] or
                [B, 1 or 3, H, W]; a PIL image; the path of an image file; or a list of single images of these kinds, in which a
                tensor is [1 or 3, H, W] and an array may be. An array [3, H, W] outside a list could also be three grey images:
                it is refused; give [1, 3, H, W] or [3, H, W, 1]. Tensors and arrays are uint8, uint16 or float. If f reads
                another number of channels, tensors and arrays have as many instead of 3.
            aspect: How images that are not square become square: "crop" to the centre, "pad" with the border pixels, or
                "squeeze". None: as the run read its source, or "crop".
            value_range: The values of black and white in tensors and arrays, such as ``(0, 1)``. None: by the type; of floats,
                as detected.
            engine: What computes G: "torch"; "onnxruntime" or "openvino", which are faster for single images on a CPU and need
                the extra of that name ("export" for onnxruntime); or "auto", the first of onnxruntime, OpenVINO and torch
                that is installed and can compute G here. The others compute a traced graph, which is compared with torch and
                cached at the first call, and keep the weights of that call. A pixel may differ by one level of 255.

        Returns:
            As many images, of the recipe's size and the target's channels. Tensors and arrays are uint8 for uint8, and
            otherwise float32 in the range of the input. For a path, a PIL image.

        Raises:
            DomtransError: For other shapes or types, if the range of floats is not clear or values lie outside the stated one,
                if a file cannot be read, or if the engine cannot compute G.
        """
        batch = self._reader(aspect, value_range).read(images)
        return batch.restore(self._pictures(batch.squares, engine) if len(batch.squares) else batch.squares)

    @property
    def draws_by_parameters(self) -> bool:
        """Whether the images of G are drawings by the target's engine, which have parameters."""
        return self.model.engine is not None

    @cached_property
    def engine(self) -> NamedEngine:
        """The drawing engine of the target, with the domain that has it. Raises DomtransError if the target has none."""
        named = NamedEngine.of(self.registry, self.recipe.target)
        if named is None:
            raise DomtransError(f"the target '{self.recipe.target.name}' of the run in {self.path} is not drawn by an engine")
        return named

    @torch.no_grad()
    def parameters(
        self, images: Any, *, aspect: Aspect | None = None, value_range: ValueRange | None = None
    ) -> list[dict[str, str]]:
        """The parameters of G(x): the value of every slot of the target's engine, for each image.

        The arguments are those of ``transfer``. The parameters of a G that draws pixels are those of ``project()``.

        Raises:
            DomtransError: Also if the target is not drawn by an engine.
        """
        space = self.engine.engine.space
        model = self.model if self.draws_by_parameters else self.project().model
        squares = self._reader(aspect, value_range).read(images).squares
        with self._autocast():
            indices = model.parameter_indices(squares).tolist() if len(squares) else []
        return [space.parameters(row) for row in indices]

    def drawing(self, parameters: Parameters) -> Drawing:
        """The drawing of these parameters, as SVG (``to_svg()``), pixels (``to_pil(size)``) or a file (``to_json()``).

        Raises:
            DomtransError: If the target is not drawn by an engine, or the engine does not take the parameters.
        """
        return self.engine.draw(parameters)

    def draw(self, parameters: Parameters, size: int | None = None) -> Image.Image:
        """The picture of these parameters, ``size`` pixels wide and high; by default as the network produces it.

        Raises:
            DomtransError: If the target is not drawn by an engine, or the engine does not take the parameters.
        """
        return self.drawing(parameters).to_pil(size or self.recipe.image_size)

    def project(self, *, progress: bool | None = None, listeners: Listeners = ()) -> Run:
        """The same run with drawings instead of pixels: a network c reads the parameters in G(x), and the engine draws them.

        c is fitted on the target's own drawings, made to look like generated images, and sees nothing of the source. The fit
        takes some minutes and is cached. A run that draws by parameters is returned as it is.

        Args:
            progress: Show the progress of the fit on standard error: True always, False never, None on a terminal and in a
                notebook.
            listeners: One function, or several, called with the progress.

        Raises:
            DomtransError: If the target is not drawn by an engine.
        """
        if self.draws_by_parameters:
            return self
        if self._projected is None:
            everyone = (*self.session.listeners, *as_listeners(listeners))
            session = replace(self.session, listeners=everyone)
            with session_with_display(session, progress) as session, session.group.main_process_first():
                model = project(self.model, self.recipe, self.registry, session)
            self._projected = Run(self.file, self.recipe, model, self.about, self.registry, self.session, self.precision)
        return self._projected

    def variant(self, number: int) -> Run:
        """The run with another transfer of every image, the same in every call; 0 gives the run's own.

        Raises:
            DomtransError: If the generator reads no noise (``generator.noise``), or the number is negative.
        """
        model = copy.deepcopy(self.model)
        set_variant(model.generator, number)
        return Run(self.file, self.recipe, model, self.about, self.registry, self.session, self.precision)

    def _pictures(self, squares: Tensor, engine: InferenceEngine) -> Tensor:
        """G of images [B, 1 or 3, S, S] in [-1, 1]: float [B, C, S, S] in [-1, 1]."""
        engine = self.inference_engine(engine)
        if engine != "torch":
            if engine not in self._networks:
                parts = {"encoder": self.recipe.encoder, "generator": self.recipe.generator}
                code = {kind: identity(self.registry, kind, part) for kind, part in parts.items()}
                self._networks[engine] = graph_network(self.model, engine, self.recipe.image_size, self._dtype, code)
            return self._networks[engine](squares)
        with self._autocast():
            if self.draws_by_parameters:
                return to_float(self.model.pictures(squares).to(squares.device))
            pixels: Tensor = self.model(squares)
            return pixels.float()

    def inference_engine(self, engine: InferenceEngine) -> InferenceEngine:
        """The engine that ``transfer(engine=engine)`` computes with, which answers what "auto" is here.

        Raises:
            DomtransError: If the engine cannot compute this G.
        """
        return pick_engine(engine, self.model, self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return pick_dtype(self.precision, self.session.device)

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self._dtype, self.session.device)

    @torch.no_grad()
    def encode(self, images: Any, *, aspect: Aspect | None = None, value_range: ValueRange | None = None) -> Tensor:
        """f(x): standardised features [B, F], float32. The arguments are those of ``transfer``."""
        return self.model.encoder(self._reader(aspect, value_range).read(images).squares)

    def evaluate(
        self,
        changes: list[str] | tuple[str, ...] | Mapping[str, Any] | None = (),
        *,
        source: Any = None,
        target: Any = None,
        progress: bool | None = None,
    ) -> dict[str, Any]:
        """Measure the recipe's metrics on test images.

        Args:
            changes: Changes to the source, the target or the metrics of the recipe, e.g. ``{"source": "svhn"}``.
            source: Other source data, in the forms that ``train`` takes. All images of a set without splits are measured.
            target: Other target data, likewise. Of a set without splits, an eighth of every class are the test images.
            progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.

        Returns:
            Metrics by name, the data that they were measured on, and what could not be measured.

        Raises:
            DomtransError: If the data cannot be loaded, or a change concerns what was trained.
        """
        changes, domains = split_off_data(changes, {"source": source, "target": target})
        recipe = self.recipe
        for part_of in ({name: value for name, value in domains.items() if not is_data(value)}, changes):
            recipe = with_other_data(recipe, part_of, self.registry) if part_of else recipe
        data = {name: value for name, value in domains.items() if is_data(value)}
        recipe, registry = use_data(recipe, data, self.registry, all_source=True)
        check_data_is_here(recipe, registry, "evaluate")
        # A metric may seed what it fits; the caller's random state stays.
        with torch.random.fork_rng(devices=[]), session_with_display(self.session, progress) as session:
            results = measure(self.model, recipe, registry, session, self.about["classes"])
        supervision = self.about.get("supervision")
        results |= {"supervision": supervision} if isinstance(supervision, str) else {}
        return results | ({"reading": dict(self.model.reading)} if isinstance(self.model, ProjectedTransfer) else {})

    def _reader(self, aspect: Aspect | None, value_range: ValueRange | None) -> InputReader:
        channels = self.model.encoder.encoder.channels
        return InputReader(self.recipe.image_size, self.session.device, aspect or self.aspect, value_range, channels)
