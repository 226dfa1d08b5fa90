"""Download files of the digit data sets from their publishers: checked by SHA-256, limited in size, written atomically."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from domtrans import DomtransError, reason_of

log = logging.getLogger(__name__)

BLOCK_BYTES = 2**20
TIMEOUT_SECONDS = 60
"""Longest time without a byte from the server."""


@dataclass(frozen=True)
class Source:
    """Address and SHA-256 of a published file, and the largest size that is downloaded."""

    url: str
    sha256: str
    max_mib: int


MNIST, USPS, SVHN = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
    "http://ufldl.stanford.edu/housenumbers/",  # no https here; the checksum protects the content
)
SOURCES = {
    Path(source.url).name: source
    for source in (
        Source(MNIST + "train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 16),
        Source(MNIST + "train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 1),
        Source(MNIST + "t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 16),
        Source(MNIST + "t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 1),
        Source(USPS + "usps.bz2", "3771e9dd6ba685185f89867b6e249233dd74652389f263963b3b741e994b034f", 16),
        Source(USPS + "usps.t.bz2", "a9c0164e797d60142a50604917f0baa604f326e9a689698763793fa5d12ffc4e", 16),
        Source(SVHN + "train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8", 256),
        Source(SVHN + "test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b", 128),
        Source(SVHN + "extra_32x32.mat", "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3", 2048),
    )
}
"""By file name. The checksums are those of torchvision's prototype data sets; other projects have the same."""


def fetch(name: str, folder: Path) -> Path:
    """Download a file into a folder; the file appears only after its checksum is verified.

    Raises:
        DomtransError: If it cannot be downloaded or written, is too large, or has another checksum.
    """
    source, path = SOURCES[name], folder / name
    log.warning("downloading %s to %s", source.url, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".being-downloaded-") as temporary:
            part = Path(temporary) / name
            if _save(source, part) != source.sha256:
                raise DomtransError(f"the file from {source.url} is not the published one: its SHA-256 differs")
            part.replace(path)
    except (OSError, HTTPException, ValueError) as error:  # no network, not found, a broken connection, a full disk
        if isinstance(error, HTTPError):
            error.close()  # an HTTPError holds the connection
        raise DomtransError(f"{source.url} cannot be downloaded to {folder}: {reason_of(error)}") from None
    return path


def _save(source: Source, part: Path) -> str:
    """Write the response to a file, up to the size limit; returns its SHA-256."""
    digest = hashlib.sha256()
    with urlopen(source.url, timeout=TIMEOUT_SECONDS) as response, part.open("wb") as file:
        if source.url.startswith("https:") and not response.url.startswith("https:"):
            raise DomtransError(f"{source.url} redirects to {response.url[:200]}, which is not https; nothing was downloaded")
        while block := response.read(BLOCK_BYTES):
            digest.update(block)
            file.write(block)
            if file.tell() > source.max_mib * 2**20:
                raise DomtransError(f"{source.url} sends more than {source.max_mib} MiB; the published file is smaller")
    return digest.hexdigest()
