"""WebDataset shards for tests."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(image: np.ndarray, form: str = "PNG") -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, form)
    return file.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    """A tar file of regular members, in order."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_shards(folder: Path, images: np.ndarray, labels: Iterable[int], *, shard: int = 8) -> str:
    """Labelled images in shards of ``shard`` images, in the layout of ``domtrans make``; returns the folder."""
    folder.mkdir()
    pairs = list(enumerate(zip(images, labels, strict=True)))
    for first in range(0, len(pairs), shard):
        members = {}
        for i, (image, label) in pairs[first : first + shard]:
            members[f"{i:08d}.png"] = encoded(image)
            members[f"{i:08d}.json"] = json.dumps(
                {"class": int(label), "attributes": {"parity": ["even", "odd"][i % 2]}}
            ).encode()
        write_tar(folder / f"{first // shard:06d}.tar", members)
    return str(folder)
