"""Files of the digit data sets, fetched from where they are published: checked by SHA-256, bounded, whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from domtrans import DomtransError

log = logging.getLogger(__name__)

BLOCK = 2**20
PATIENCE = 60
"""Seconds without a byte after which a server is given up."""


@dataclass(frozen=True)
class Source:
    """Where a file is published, what its content is, and how many MiB it may have at most."""

    url: str
    sha256: str
    most: int


MNIST, USPS, HOUSES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
    "http://ufldl.stanford.edu/housenumbers/",  # there is no https; as everywhere, the sum vouches for the content
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
        Source(HOUSES + "train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8", 256),
        Source(HOUSES + "test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b", 128),
        Source(HOUSES + "extra_32x32.mat", "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3", 2048),
    )
}
"""By file name. The sums are those of torchvision's prototype data sets; each is found in other projects too."""


def fetch(name: str, folder: Path) -> Path:
    """The file of that name in the folder, downloaded; what is not whole and as expected never gets its name.

    Raises DomtransError if it cannot be had, is larger than it should be, has another checksum, or cannot be written.
    """
    source, path = SOURCES[name], folder / name
    log.warning("downloading %s to %s", source.url, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".being-downloaded-") as beside:
            part = Path(beside) / name
            if _save(source, part) != source.sha256:
                raise DomtransError(f"{source.url} gave another file than the one published there: its SHA-256 differs")
            part.replace(path)
    except (OSError, HTTPException, ValueError) as error:  # no network, no such page, a line cut, a full disk
        if isinstance(error, HTTPError):
            error.close()  # it is an answer as well, and holds the connection
        raise DomtransError(f"{source.url} cannot be downloaded to {folder}: {' '.join(str(error).split())[:160]}") from None
    return path


def _save(source: Source, part: Path) -> str:
    """Write what the address gives, as far as it may go; returns its SHA-256."""
    digest = hashlib.sha256()
    with urlopen(source.url, timeout=PATIENCE) as answer, part.open("wb") as file:
        if source.url.startswith("https:") and not answer.url.startswith("https:"):
            raise DomtransError(f"{source.url} leads to {answer.url[:200]}, which is not https; it was not downloaded")
        while block := answer.read(BLOCK):
            digest.update(block)
            file.write(block)
            if file.tell() > source.most * 2**20:
                raise DomtransError(f"{source.url} gives more than {source.most} MiB, which the file does not have")
    return digest.hexdigest()
