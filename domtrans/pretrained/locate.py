"""The name of a run as a path on this machine."""

from __future__ import annotations

from pathlib import Path

from domtrans.pretrained import hub, remote
from domtrans.pretrained.models import PREFIX, model_folder
from domtrans.storage.address import is_remote
from domtrans.storage.paths import expand_home


def is_address(name: str | Path) -> bool:
    """Whether a name is ``models:NAME``, ``hf://OWNER/NAME`` or another address, and not a path of the user's."""
    return str(name).startswith(PREFIX) or is_remote(name)


def local_path(name: str | Path, *, whole: bool = False) -> Path:
    """The folder of ``models:NAME``; the downloaded folder or file of an address; any other name as a path.

    Args:
        name: The name.
        whole: Of a run that was published by training, download also log, samples and examples.

    Raises:
        DomtransError: If there is no such model, or it cannot be downloaded.
    """
    text = expand_home(str(name))
    if text.startswith(PREFIX):
        return model_folder(text)
    if hub.is_address(text):
        return hub.fetch(text)
    return remote.fetch(text, whole=whole) if is_remote(text) else Path(text)
