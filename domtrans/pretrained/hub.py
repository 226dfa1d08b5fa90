"""Download models from a model hub."""

from __future__ import annotations

import re
from pathlib import Path

from domtrans.errors import DomtransError, reason_of
from domtrans.optional import require_extra
from domtrans.storage.run_files import CONFIG_FILE, DISCRIMINATOR_FILE, MODEL_FILE, RECIPE_FILE, RESULTS_FILE
from domtrans.storage.signature import CHECKSUMS_FILE, SIGNATURE_FILE

HUB_NAME = re.compile(r"(?P<repository>(?P<owner>\w[\w.-]{0,95})/\w[\w.-]{0,95})(?:@(?P<revision>[\w./-]{1,200}))?", re.ASCII)
ADDRESS = re.compile(r"hf:/{1,2}(?P<name>[^/].*)", re.DOTALL)
"""``hf://OWNER/NAME``. A ``Path`` of it has one slash less."""

FILES = [MODEL_FILE, DISCRIMINATOR_FILE, CONFIG_FILE, RECIPE_FILE, RESULTS_FILE, CHECKSUMS_FILE, SIGNATURE_FILE]
"""The files that are downloaded: tensors and plain data, no code."""


def is_address(name: str) -> bool:
    """Whether a name begins with ``hf://``, and is therefore never a path."""
    return ADDRESS.fullmatch(name) is not None


def is_on_hub(name: str) -> bool:
    """Whether a name is OWNER/NAME, and neither that path nor a folder OWNER exists.

    ``runs/misspelled`` beside a folder ``runs`` is therefore a path, and is never downloaded.
    """
    match = HUB_NAME.fullmatch(name)
    return match is not None and not Path(name).exists() and not Path(match["owner"]).exists()


def fetch(name: str) -> Path:
    """Download a model, or take it from the hub's own cache.

    Args:
        name: ``hf://OWNER/NAME`` or ``OWNER/NAME``, and with ``@REVISION`` a branch, a tag or a commit.

    Returns:
        A folder with the files of a run.

    Raises:
        DomtransError: If it cannot be downloaded, or the extra "hub" is not installed.
    """
    address = ADDRESS.fullmatch(name)
    match = HUB_NAME.fullmatch(address["name"] if address else name)
    if match is None:
        raise DomtransError(f"{name} is not the address of a model; write hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    no_path = "" if address else ": no such folder"
    hub = require_extra("huggingface_hub", "hub", f"there is no run in {name}{no_path}; to download it from a model hub")
    try:
        return Path(hub.snapshot_download(match["repository"], revision=match["revision"], allow_patterns=FILES))
    except Exception as error:  # noqa: BLE001 - no network, no such model, no access, a full disk: each has its own class
        raise DomtransError(
            f"there is no run in {name}{no_path or ' here'}, and it could not be downloaded from the model hub "
            f"({reason_of(error)}); check the name and the network, or download the model yourself and give its folder"
        ) from None
