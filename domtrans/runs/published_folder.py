"""A run folder at an address, such as ``s3://bucket/run``: trained in a local copy, which is published at every save."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from domtrans.compute import launcher
from domtrans.errors import DomtransError
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import Registry
from domtrans.runs.folder import LOCK_FILE, RunFolder
from domtrans.storage.address import OBJECT_STORES, as_address, is_remote, name_of_address, protocol_of
from domtrans.storage.atomic import write_json
from domtrans.storage.paths import cache_folder
from domtrans.storage.published import Publication, publish, read_publication, sha256_of
from domtrans.storage.run_files import RUN_FILES

log = logging.getLogger(__name__)

KNOWN_FILE = ".published-by-this-machine.json"
"""The checksums of publications that the local copy continues. It is beside the copy."""


def run_folder(out: Path) -> RunFolder:
    """The run folder at a path. Of an address, the main process copies here what is published there.

    Raises:
        DomtransError: If nothing can be published at the address, or it cannot be read.
    """
    if not is_remote(out):
        return RunFolder(out)
    folder = PublishedRunFolder(as_address(out).rstrip("/"))
    if launcher.rank() == 0:
        folder.fetch()
    return folder


def local_copy(out: Path) -> Path:
    """The local folder of a run: the path itself, or the copy in the cache of a run at an address."""
    if not is_remote(out):
        return out
    address = as_address(out).rstrip("/")
    name = re.sub(r"[^\w-]", "_", name_of_address(address))[-100:]
    return cache_folder() / "published" / hashlib.sha256(address.encode()).hexdigest()[:24] / name


class PublishedRunFolder(RunFolder):
    """A run folder in the cache, and its publications at an address.

    Everything is published after every training state, and when the run ends or stops. A failure during training is a
    warning, and the next save tries again. What trackers write into the folder stays local.

    Args:
        address: The address of an object store, without a slash at its end.

    Raises:
        DomtransError: If nothing can be published at the address.
    """

    def __init__(self, address: str) -> None:
        if protocol_of(address) not in OBJECT_STORES:
            raise DomtransError(
                f"{address} is an address, and a run folder must be local or in an object store "
                f"({', '.join(f'{protocol}://' for protocol in OBJECT_STORES[:-1])})"
            )
        super().__init__(local_copy(Path(address)), address)
        self.address = address
        self._known_file = self.path.with_name(KNOWN_FILE)
        self._checksums: dict[Path, tuple[tuple[int, int], str]] = {}
        """By file: modification time and size, and the checksum that it had then."""

    def fetch(self) -> None:
        """Make the local copy what is published, unless it continues just that. Nobody may train in it.

        Raises:
            DomtransError: If another process trains in the copy, or the store cannot be read.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DomtransError(f"the copy {self.path} of {self.address} cannot be created: {error.strerror}") from None
        with self._locked():
            there = read_publication(self.address)
            if there.checksum in self._known():
                return
            if self.has_started():
                log.warning("%s was changed elsewhere; the copy on this machine is replaced", self.address)
            for folder in (self.samples, self.earlier):
                shutil.rmtree(folder, ignore_errors=True)
            for file in self.path.iterdir():
                if file.is_file() and file.name not in (LOCK_FILE, *there.files):
                    file.unlink()
            there.download(there.files, self.path)
            write_json(self._known_file, [there.checksum])

    @contextmanager
    def open(self, recipe: Recipe, registry: Registry, *, resume: bool, allowed: Sequence[str] = ()) -> Iterator[list[str]]:
        """As of ``RunFolder``. The folder is published at the beginning and at the end, also after a stop or an error.

        Raises:
            DomtransError: Also if the store cannot be written at the beginning, or the finished run cannot be published.
        """
        with super().open(recipe, registry, resume=resume, allowed=allowed) as changed:
            self.publish()  # so that a missing bucket or permission is found before the training, and not after it
            try:
                yield changed
            except TakenOverError:
                raise
            except Exception:
                self._publish_if_possible("the same command publishes it on this machine")
                raise
            try:
                self.publish()
            except DomtransError as fault:
                raise DomtransError(f"{fault}; the run is complete in {self.path}, and the same command publishes it") from None

    def save_training(self, state: Mapping[str, Tensor], keep: int = 1, every: int = 1) -> None:
        """As of ``RunFolder``, and publish all files.

        Raises:
            DomtransError: If the state cannot be written, or another machine continued the run.
        """
        super().save_training(state, keep, every)
        self._publish_if_possible("training continues, and the next save publishes it")

    def publish(self) -> None:
        """Publish the files of the run as they are, if they have changed.

        Raises:
            TakenOverError: If another machine has published the run since.
            DomtransError: If the store cannot be read or written.
        """
        now = Publication(self.address, {name: self._checksum(self.path / name) for name in self._names()})
        there = read_publication(self.address)
        if there.checksum not in self._known():
            raise TakenOverError(f"{self.address} was changed by another process; let only one train there")
        if now.checksum != there.checksum:
            write_json(self._known_file, [there.checksum, now.checksum])  # the answer to the last request may be lost
            publish(self.path, now, there)
        write_json(self._known_file, [now.checksum])

    def check_shared(self) -> None:
        """Nothing to check: every machine reads the store."""

    @property
    def shared_path(self) -> Path:
        """The address."""
        return Path(self.address)

    def _publish_if_possible(self, then: str) -> None:
        self.name = self.address
        try:
            self.publish()
        except TakenOverError:
            raise
        except DomtransError as fault:
            self.name = f"{self.path}, and not yet at {self.address}"
            log.warning("%s; the state is saved in %s; %s", fault, self.path, then)

    def _known(self) -> list[str]:
        try:
            known = json.loads(self._known_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return known if isinstance(known, list) else []

    def _names(self) -> list[str]:
        """The files of the run. Trackers and users may have put others beside them."""
        files = [*(self.path / name for name in RUN_FILES), *self.samples.glob("step-*.png"), *self._earlier_states()]
        return sorted(file.relative_to(self.path).as_posix() for file in files if file.is_file())

    def _checksum(self, file: Path) -> str:
        status = file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        if self._checksums.get(file, (None, ""))[0] != stamp:
            self._checksums[file] = (stamp, sha256_of(file))
        return self._checksums[file][1]


class TakenOverError(DomtransError):
    """Another machine continued the run that this one trains."""
