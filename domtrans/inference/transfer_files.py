"""Transfer image files: one, several, whole folders, animations and videos."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from domtrans.compute.precision import Precision
from domtrans.data.aspect import Aspect
from domtrans.data.image_files import silence_pillow_warnings
from domtrans.data.image_formats import image_format
from domtrans.data.image_scan import SkippedFile
from domtrans.data.pages import describe_unread
from domtrans.data.pixel_limit import pixel_limit
from domtrans.data.value_range import ValueRange
from domtrans.errors import DomtransError, Stopped
from domtrans.inference.array_file import array_target, find_array_file, transfer_array
from domtrans.inference.contact_sheet import ContactSheet
from domtrans.inference.framing import Framing
from domtrans.inference.jobs import Job, Plan, plan_jobs, read_stream
from domtrans.inference.options import BATCH_SIZE, Format, TransferOptions, default_workers
from domtrans.inference.output_files import check_replaceable, write_output
from domtrans.inference.output_names import SVG, output_names
from domtrans.inference.outputs import network_of
from domtrans.inference.pipeline import Detector, JobResult, Pipeline
from domtrans.inference.tiles import TiledPipeline, Tiling
from domtrans.model.inference_engine import InferenceEngine
from domtrans.progress.display import with_display
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry
from domtrans.runs.load import as_run
from domtrans.runs.run import Run
from domtrans.session import Listener, Listeners, Progress
from domtrans.storage.address import check_local
from domtrans.storage.paths import expand_home

__all__ = ["BATCH_SIZE", "Format", "Transferred", "output_names", "transfer"]

PROGRESS_INTERVAL_SECONDS = 0.2
"""Shortest time between two calls of the listeners."""

Source = str | Path | BinaryIO


@dataclass(frozen=True)
class Transferred:
    """The result of ``transfer``, in the order of the inputs.

    Attributes:
        written: The files written.
        failed: The inputs that were not transferred, each with the reason.
        skipped: The outputs that existed already; only with ``skip_existing``.
        passed_over: The files of folders and patterns that are not read, each with the reason: files that are not images,
            images that need an extra or whose format is not supported, broken links, and so on.
        projected: Whether the run draws pixels and the drawings nearest to G(x) were written instead.
        notes: Sentences about pages of TIFF files and frames of animations that were not transferred.
    """

    written: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]
    skipped: tuple[Path, ...] = ()
    passed_over: tuple[SkippedFile, ...] = ()
    projected: bool = False
    notes: tuple[str, ...] = ()


def transfer(
    run: Run | str | Path,
    source: Source | Sequence[Source],
    destination: str | Path | BinaryIO,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    engine: InferenceEngine = "torch",
    format: Format | None = None,
    size: int | None = None,
    keep_size: bool = False,
    side_by_side: bool = False,
    crop: str | Part | None = None,
    faces: bool = False,
    sheet: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    skip_existing: bool = False,
    force: bool = False,
    part: tuple[int, int] = (0, 1),
    parameters: str | Path | None = None,
    project: bool = False,
    tiles: bool = False,
    variant: int = 0,
    aspect: Aspect | None = None,
    value_range: ValueRange | None = None,
    max_pixels: int | None = None,
    registry: Registry | None = None,
    progress: bool | None = None,
    listeners: Listeners = (),
    stop: threading.Event | None = None,
) -> Transferred:
    """Transfer an image file to a file, or all images of a folder to a folder, as PNG.

    ``a.jpg`` becomes ``a.png``. If two images would become one file, as ``a.jpg`` and ``a.png`` would, they keep their
    suffixes: ``a.jpg.png`` and ``a.png.png``. An unreadable image of a folder is skipped and listed in ``failed``, and every
    file that is not read in ``passed_over``. Links to folders are followed. A destination inside the source folder is not read;
    if it is the source folder, what domtrans wrote there is not. Every file is written whole or not at all. The output has the
    alpha channel of the input if its format supports one.
    An .npy file of images becomes another .npy file, and takes no options that are for image files.
    All frames of an animation (GIF, APNG, WebP, AVIF) or a video are transferred; of an animation only the first, if the
    output format is not animated.

    An existing file is replaced only if domtrans wrote it: PNG, JPEG, WebP, GIF, TIFF and videos carry a mark in their
    metadata. Inputs are never replaced.

    Args:
        run: A run, its folder, a model file, or ``OWNER/NAME`` on a model hub.
        source: A file, a folder, a pattern such as ``photos/**/*.jpg``, an open binary file, or several of these. Output names
            are relative to the folder that all inputs share.
        destination: A file for a single input, otherwise a folder; or an open binary file.
        device: Where to load the run, if ``run`` is not a ``Run``: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: The precision to load the run with: "float32", "bf16" or "auto" (``load``).
        engine: What computes G: "torch"; "onnxruntime" or "openvino", which are faster for single images on a CPU; or "auto"
            (``Run.transfer``).
        format: Of the images of a folder. The format of a single file follows from its suffix. "svg" is for runs whose target
            an engine draws.
        size: Side of the output in pixels. None: the size that the network produces. Drawings are drawn at this size, all
            other images are resized to it.
        keep_size: Resize the output to the size of the part of the input that the network sees: the whole input, or its centre
            square with the aspect "crop".
        side_by_side: Show the centre square of the input on the left of the output.
        crop: A registered detector, such as "faces" (needs the extra "faces"). Every object that it detects is transferred:
            ``a.jpg`` becomes ``a-1.png``, ``a-2.png`` and so on, and ``a.png``, which shows each crop above its output.
        faces: Deprecated: use ``crop="faces"``.
        sheet: File of a contact sheet: inputs above outputs, of at most 256 files, evenly spread.
        batch_size: Images per batch of the network.
        workers: Threads that decode and encode. None: one per core, at most 8.
        skip_existing: Skip inputs whose output exists.
        force: Replace existing files that domtrans did not write.
        parameters: Also write the parameters of every drawing as JSON: to this file for a single image, otherwise to a file for
            each image in this folder. ``render`` draws them again. For a run whose target an engine draws.
        project: Of a run that draws pixels, write the drawing that is nearest to G(x) (``Run.project``). SVG files and
            ``parameters`` imply it.
        tiles: Keep size and shape of a picture: transfer it in overlapping tiles of the network's size, and blend them. Its
            details should be as large as in the training images. For a run whose f gives feature maps.
        variant: Which transfer of every image is written, for a run whose generator reads noise (``Run.variant``).
        part: ``(k, n)`` transfers the files k, k + n, k + 2n and so on, for n processes that share the work.
        aspect: How an image that is not square becomes square: "crop" to the centre, "pad" with the border pixels, or
            "squeeze". None: as the run read its source, or "crop".
        value_range: The values of black and white in an .npy file, such as ``(0, 1)``. None: by the type; of floats, as
            detected.
        max_pixels: Limit of an image's width times height; 0: none; None: DOMTRANS_MAX_PIXELS, or Pillow's limit.
        registry: Where to look up parts; by default that of the run, or of the installed plugins.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.
        listeners: One function, or several, called with the progress.
        stop: Once set, the files in progress are finished and Stopped is raised.

    Returns:
        What was written, what failed and what was skipped.

    Raises:
        DomtransError: If a source does not exist, a single file cannot be read, an output would replace an input or a file
            that domtrans did not write, or a file cannot be written.
        Stopped: If ``stop`` was set.
    """
    if faces:
        warnings.warn('faces=True is deprecated; use crop="faces"', DeprecationWarning, stacklevel=2)
        crop = crop or "faces"
    _check_local(destination, sheet, parameters)
    options = TransferOptions(
        format=format,
        size=size,
        keep_size=keep_size,
        side_by_side=side_by_side,
        crop=crop,
        sheet=None if sheet is None else Path(expand_home(str(sheet))),
        batch_size=batch_size,
        workers=default_workers() if workers is None else workers,
        skip_existing=skip_existing,
        force=force,
        part=part,
        aspect=aspect,
        value_range=value_range,
        max_pixels=max_pixels,
        parameters=None if parameters is None else Path(expand_home(str(parameters))),
        project=project,
        tiles=tiles,
    )
    array = find_array_file(source)
    if array is not None:
        run = _load(run, device, precision, registry, variant)
        return _transfer_array(run, array, destination, options, engine, listeners, progress, stop or threading.Event())
    sheet_format = None if options.sheet is None else image_format(options.sheet)
    plan = _plan(source, destination, options)
    jobs, single = plan.jobs, plan.single
    run = _load(run, device, precision, registry, variant)
    projected = _needs_projection(run, jobs, options)
    tiling = Tiling.of(run) if tiles else None
    detector = None if crop is None else _build_detector(crop, registry or run.registry)
    output_size = None if keep_size else size or run.recipe.image_size
    framing = Framing(run.recipe.image_size, output_size, side_by_side, aspect or run.aspect)
    skipped = [job for job in jobs if job.target_exists] if skip_existing else []
    done = {id(job) for job in skipped}
    pending = [job for job in jobs if id(job) not in done]
    contact_sheet = ContactSheet(len(pending) if options.sheet else 0)
    results: list[JobResult] = []
    pool = ThreadPoolExecutor(options.workers, "domtrans-transfer")
    try:
        with silence_pillow_warnings(), pixel_limit(max_pixels), with_display(listeners, progress) as everyone:
            run = run.project(progress=False, listeners=everyone) if projected else run
            reporter = ProgressReporter(everyone, stop or threading.Event())
            on_frames = reporter.frames_done if single else lambda *_: reporter.check_stop(len(results), len(pending))
            network = network_of(run, engine)
            pipeline: Pipeline | TiledPipeline
            if tiling is not None:
                pipeline = TiledPipeline(network, tiling, options, on_frames)
            else:
                pipeline = Pipeline(network, framing, detector, options, pool, contact_sheet, on_frames)
            for result in pipeline.run(pending):
                results.append(result)
                reporter.files_done(len(results), len(pending))
    finally:
        pool.shutdown(cancel_futures=True)
    results.sort(key=lambda result: result.position)
    failed = tuple((Path(result.job.name), result.error) for result in results if result.error)
    if single and failed:
        raise DomtransError(failed[0][1])
    if options.sheet is not None and sheet_format is not None and (content := contact_sheet.encode(sheet_format)) is not None:
        write_output(options.sheet, content)
    written = tuple(path for result in results for path in result.written)
    existing = tuple(job.target for job in skipped if isinstance(job.target, Path))
    unread = describe_unread((result.pages for result in results), "was transferred")
    return Transferred(written, failed, existing, plan.passed_over, projected, tuple(unread))


def _transfer_array(
    run: Run,
    source: Path,
    destination: str | Path | BinaryIO,
    options: TransferOptions,
    engine: InferenceEngine,
    listeners: Listeners,
    progress: bool | None,
    stop: threading.Event,
) -> Transferred:
    """Transfer an .npy file; its images are reported as the frames of a single file are."""
    target = array_target(source, destination, options)
    if options.skip_existing and target.exists():
        return Transferred((), (), (target,))
    with with_display(listeners, progress) as everyone:
        on_images = ProgressReporter(everyone, stop).frames_done
        return Transferred((transfer_array(run, source, target, options, engine, on_images),), ())


def _check_local(*outputs: str | Path | BinaryIO | None) -> None:
    """Raise DomtransError if an output is an address."""
    for output in outputs:
        if isinstance(output, str | Path):
            check_local(output, "an output")


def _load(run: Run | str | Path, device: str, precision: Precision, registry: Registry | None, variant: int) -> Run:
    """The run, as the variant. Raises DomtransError for a variant of a run without noise."""
    run = as_run(run, device=device, precision=precision, registry=registry)
    return run.variant(variant) if variant else run


def _needs_projection(run: Run, jobs: Sequence[Job], options: TransferOptions) -> bool:
    """Whether drawings are wanted of a run that draws pixels. Raises DomtransError for options that contradict each other."""
    vector = any(SVG in (job.format_name, job.crop_format) for job in jobs)
    if vector and options.side_by_side:
        raise DomtransError("an SVG holds the drawing alone; leave out side_by_side, or write .png")
    if vector and options.tiles:
        raise DomtransError("a transfer in tiles writes pixels; leave out tiles, or write .png")
    if run.draws_by_parameters:
        if options.project:
            raise DomtransError("this run draws by parameters already, so there is nothing to project; leave out project")
        return False
    wanted = vector or options.project or options.parameters is not None
    if wanted:
        _ = run.engine  # raises if the target has none
    return wanted


def _plan(source: Source | Sequence[Source], destination: str | Path | BinaryIO, options: TransferOptions) -> Plan:
    """The plan with this process's jobs. Checks that nothing foreign would be replaced."""
    if options.value_range is not None:
        raise DomtransError("value_range is for an .npy file, because an image file says what its values mean; leave it out")
    extra_outputs = [] if options.sheet is None else [options.sheet]
    with silence_pillow_warnings():
        plan = plan_jobs(
            _as_inputs(source),
            _as_file(destination),
            suffix=options.suffix,
            numbered=options.crop is not None,
            extra_outputs=extra_outputs,
            parameters=options.parameters,
        )
        if not options.force:  # checks the jobs of all processes, so that all of them refuse
            targets = [path for job in plan.jobs for path in (job.files if options.crop is None else job.files[:1])]
            check_replaceable(extra_outputs if options.skip_existing else [*targets, *extra_outputs])
    first, step = options.part
    return replace(plan, jobs=plan.jobs[first::step])


def _build_detector(crop: str | Part, registry: Registry) -> Detector:
    detector: Detector = registry.build("detector", crop if isinstance(crop, Part) else Part(name=crop))
    return detector


class ProgressReporter:
    """Calls the listeners of a transfer, and ends the transfer when the caller asks to stop."""

    def __init__(self, listeners: tuple[Listener, ...], stop: threading.Event) -> None:
        self.listeners, self.stop = listeners, stop
        self.start = self.last_report = time.monotonic()

    def files_done(self, done: int, total: int) -> None:
        """Report files. Raises Stopped if the caller asked to stop and files are left."""
        self.report(done, total)
        if done < total:
            self.check_stop(done, total)

    def frames_done(self, done: int, total: int) -> None:
        """Report frames of the only file. Raises Stopped if the caller asked to stop: the file is not written yet."""
        self.report(done, total)
        self.check_stop()

    def report(self, done: int, total: int) -> None:
        """Call the listeners, at most once per interval, and at the end."""
        now = time.monotonic()
        if now - self.last_report >= PROGRESS_INTERVAL_SECONDS or done == total:
            self.last_report = now
            values = {"images_per_second": done / (now - self.start)} if now > self.start else {}
            for listener in self.listeners:
                listener(Progress("transfer", done, total, values))

    def check_stop(self, done: int = 0, total: int = 1) -> None:
        """Raise Stopped if the caller asked to stop."""
        if self.stop.is_set():
            raise Stopped(f"stopped after {done:,} of {total:,} files; every written file is complete")


def _as_inputs(source: Source | Sequence[Source]) -> list[Path | BinaryIO]:
    several = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    inputs = [_as_file(item) for item in several]
    return [item if isinstance(item, Path) else read_stream(item) for item in inputs]


def _as_file(source: Source) -> Path | BinaryIO:
    return Path(expand_home(str(source))) if isinstance(source, str | Path) else source
