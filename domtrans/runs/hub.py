"""Models on a hub: what of them is fetched, and which names are taken for theirs."""

from __future__ import annotations

import re
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.optional import require_extra

NAME = re.compile(r"(?P<repository>(?P<owner>\w[\w.-]{0,95})/\w[\w.-]{0,95})(?:@(?P<revision>[\w./-]{1,200}))?", re.ASCII)

FILES = ["model.safetensors", "recipe.json", "results.json"]
"""All that is ever fetched: tensors and plain data, nothing that could run."""


def is_on_hub(name: str) -> bool:
    """Whether a name can only be meant for the hub: OWNER/NAME where there is neither that file nor a folder OWNER.

    So ``runs/misspelt`` beside a folder ``runs`` is a path, and no stranger's model of that name is fetched.
    """
    found = NAME.fullmatch(name)
    return found is not None and not Path(name).exists() and not Path(found["owner"]).exists()


def fetch(name: str) -> Path:
    """The folder of a model of the hub, with the files of a run; taken from the hub's own cache if it has them.

    Raises DomtransError if it cannot be had.
    """
    found = NAME.fullmatch(name)
    assert found is not None
    hub = require_extra("huggingface_hub", "hub", f"there is no run in {name}: no such folder; to seek it on a model hub")
    try:
        return Path(hub.snapshot_download(found["repository"], revision=found["revision"], allow_patterns=FILES))
    except Exception as error:  # noqa: BLE001 - no network, no such model, no access, a full disk: each has its own class
        reason = " ".join(str(error).split())[:200]
        raise DomtransError(
            f"there is no run in {name}: no such folder, and it cannot be had from the model hub ({reason}); "
            "check the name and the network, or download the model and give its folder"
        ) from None
