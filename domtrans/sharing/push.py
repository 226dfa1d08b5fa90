"""``push_to_hub``: a packed run on a model hub."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from domtrans.errors import DomtransError, reason_of
from domtrans.optional import require_extra
from domtrans.pretrained.hub import HUB_NAME
from domtrans.runs.load import as_run
from domtrans.runs.run import Run
from domtrans.sharing.pack import pack

TOKEN = re.compile(r"\bhf_\w+")


@dataclass(frozen=True)
class Pushed:
    """A run that was uploaded.

    Attributes:
        address: ``hf://OWNER/NAME@COMMIT``, which ``load`` takes.
        url: The page of the commit.
        files: Names of its files.
    """

    address: str
    url: str
    files: tuple[str, ...]


def push_to_hub(
    run: Run | str | Path,
    repo_id: str,
    *,
    licence: str | None = None,
    fp16: bool = False,
    private: bool = False,
    branch: str | None = None,
    message: str = "Upload a run of domtrans",
    allow_paths: bool = False,
    sign: str | Path | None = None,
) -> Pushed:
    """Upload a run to a model hub: the files of ``pack``. A repository that does not exist is created.

    huggingface_hub finds the hub (``HF_ENDPOINT``) and your token (``hf auth login`` or ``HF_TOKEN``). domtrans neither reads
    nor stores the token.

    Args:
        run: A run, its folder or a model file.
        repo_id: ``OWNER/NAME``.
        licence: As for ``pack``.
        fp16: As for ``pack``.
        private: Make a new repository private.
        branch: The branch to upload to, which is created if it does not exist. None: the main branch.
        message: The message of the commit.
        allow_paths: Upload the run even if its files contain paths of this machine.
        sign: As for ``pack``.

    Returns:
        Where it is.

    Raises:
        DomtransError: If the run contains paths of this machine, the extra "hub" is not installed, or the upload fails.
    """
    match = HUB_NAME.fullmatch(repo_id)
    if match is None or match["revision"]:
        raise DomtransError(f"{repo_id} is not the name of a repository; write OWNER/NAME")
    hub = require_extra("huggingface_hub", "hub", "an upload to a model hub")
    run = as_run(run, device="cpu")
    with tempfile.TemporaryDirectory(prefix="domtrans-") as temporary:
        packed = pack(run, Path(temporary) / "packed", licence=licence, fp16=fp16, sign=sign)
        if packed.places and not allow_paths:
            raise DomtransError(
                f"the files of this run contain paths of this machine ({', '.join(packed.places)}), and nothing was uploaded; "
                "if they may become public, allow them with --allow-paths (allow_paths=True)"
            )
        try:
            hub.create_repo(repo_id, private=private, exist_ok=True)
            if branch is not None:
                hub.create_branch(repo_id, branch=branch, exist_ok=True)
            commit = hub.upload_folder(repo_id=repo_id, folder_path=packed.folder, revision=branch, commit_message=message)
        except Exception as error:  # noqa: BLE001 - no network, no token, no access: each has its own class
            raise DomtransError(
                f"the run could not be uploaded to {repo_id} ({TOKEN.sub('hf_...', reason_of(error))}); check the network, and "
                "that `hf auth whoami` names an account that may write there"
            ) from None
    return Pushed(f"hf://{repo_id}@{commit.oid}", str(commit.commit_url), packed.files)
