"""``pack``: a run as a folder that can be uploaded to a model hub, and that ``load`` reads from there or from a disk."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domtrans.data.domains import load_domain
from domtrans.data.grid import pair_grid, png
from domtrans.errors import DomtransError
from domtrans.model.noise import variant_of
from domtrans.runs.discriminator import read_discriminator, write_discriminator
from domtrans.runs.folder import RunFolder
from domtrans.runs.load import as_run
from domtrans.runs.run import Run
from domtrans.sharing.half import half_run, in_half
from domtrans.sharing.model_card import model_card
from domtrans.storage.address import check_local
from domtrans.storage.atomic import new_folder
from domtrans.storage.run_files import CONFIG_FILE, DISCRIMINATOR_FILE, MODEL_FILE, RECIPE_FILE, RESULTS_FILE
from domtrans.storage.signature import CHECKSUMS_FILE, SIGNATURE_FILE
from domtrans.storage.signature import sign as signature_of

GRID_IMAGES = 32
"""Source test images in the sample grid."""
GRID_FILE = "samples.png"

LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
"""Identifiers of licences, as in the list of SPDX and on model hubs."""

LOCAL_PATH = re.compile(r"""(?:(?<=[\s"'=])|^)(?:~?/|[A-Za-z]:\\)[^\s"',]+""")
"""An absolute path, which is private and useless on another machine."""


@dataclass(frozen=True)
class Packed:
    """A packed run.

    Attributes:
        folder: The folder.
        files: Names of its files.
        places: Paths of this machine that the recipe or the command contains, and that are therefore in the files.
    """

    folder: Path
    files: tuple[str, ...]
    places: tuple[str, ...]


def pack(
    run: Run | str | Path,
    folder: str | Path,
    *,
    licence: str | None = None,
    fp16: bool = False,
    sign: str | Path | None = None,
) -> Packed:
    """Write the model, its recipe and results, a model card with a sample grid, and checksums for ``sha256sum -c``.

    The folder is written whole or not at all. The last model of a run is written with its D, if the run folder has the
    training state, so that ``train.begin`` can begin with both.

    Args:
        run: A run, its folder or a model file.
        folder: A new or empty folder.
        licence: Licence of the model, as model hubs abbreviate it, e.g. "mit". The licences of the data are taken from the
            docstrings of the domains.
        fp16: Round the weights to float16, which halves the size, and measure the results again with them.
        sign: The file of a private key (Ed25519 or ECDSA, PEM or OpenSSH), with which the checksums are signed; needs the
            extra "signing". The password of a key is taken from ``$DOMTRANS_KEY_PASSWORD``.

    Returns:
        What was written.

    Raises:
        DomtransError: If the folder is not empty or cannot be written, the run is a variant other than 0, the licence is not
            an identifier, or the key cannot be used; or with ``fp16``, if a weight is too large or the test data is not
            available.
    """
    if licence is not None and not LICENCE.fullmatch(licence):
        raise DomtransError(
            f"{licence!r} is not the identifier of a licence, which has letters, digits, '.', '-', '+' and '_' only; "
            "write it as model hubs do, e.g. mit or cc-by-4.0"
        )
    check_local(folder, "a folder that is written")
    run, folder = as_run(run, device="cpu"), Path(folder)
    if variant := variant_of(run.generator):
        raise DomtransError(
            f"this is variant {variant} of a run, and a packed run is the one that was trained; pack run.variant(0), and "
            "choose the variant where images are transferred"
        )
    trained = RunFolder(run.path)
    if run.file == trained.model_file and not run.results:
        trained.read_results()  # raises if they are damaged: the packed run would lack them in silence
    with new_folder(folder) as unfinished:
        discriminator = read_discriminator(run.path) if run.file == trained.model_file else None
        if discriminator is not None:
            write_discriminator(unfinished, in_half(discriminator) if fp16 else discriminator)
        if fp16:
            run = half_run(run, unfinished)
        grid = _sample_grid(run, trained)
        files = {
            MODEL_FILE: run.file.read_bytes(),
            CONFIG_FILE: _as_json(config(run, licence)),
            RECIPE_FILE: run.recipe.to_json().encode(),
            "README.md": model_card(run, licence=licence, grid=GRID_FILE if grid else None).encode(),
        }
        if discriminator is not None:
            files[DISCRIMINATOR_FILE] = (unfinished / DISCRIMINATOR_FILE).read_bytes()
        if run.results:
            files[RESULTS_FILE] = _as_json(run.results)
        if grid:
            files[GRID_FILE] = grid
        sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
        files[CHECKSUMS_FILE] = "".join(sums).encode()
        if sign is not None:
            files[SIGNATURE_FILE] = signature_of(files[CHECKSUMS_FILE], Path(sign))
        for name, content in files.items():
            (unfinished / name).write_bytes(content)
    text = json.dumps([run.recipe.model_dump(mode="json"), run.about, run.results])
    return Packed(folder, tuple(sorted(files)), tuple(sorted(set(LOCAL_PATH.findall(text)))))


def config(run: Run, licence: str | None) -> dict[str, Any]:
    """What builds the networks again, as model hubs expect it in config.json: the arguments of a constructor."""
    about = {"library_name": "domtrans", "license": licence or "unknown"}
    arguments = {"classes": run.about["classes"], "channels": run.about["channels"]}
    return about | arguments | {"recipe": run.recipe.model_dump(mode="json")}


def _as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _sample_grid(run: Run, trained: RunFolder) -> bytes | None:
    """Source test images above their transfers; the last grid of the training if the data is missing."""
    try:
        images = load_domain(run.registry, run.recipe.source, "test", run.recipe.image_size).some(GRID_IMAGES)
    except DomtransError:
        grid = trained.newest_sample()
        return None if grid is None else grid.read_bytes()
    transferred = run.model.apply_to(images)
    return png(pair_grid(images.images, transferred, source_shown=images.shown, target_shown=_target_shown(run)))


def _target_shown(run: Run) -> tuple[int, ...]:
    """The channels that pictures of the target show, which only its data knows; without it, the usual ones."""
    try:
        return load_domain(run.registry, run.recipe.target, "test", run.recipe.image_size).shown
    except DomtransError:
        return ()
