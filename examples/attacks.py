"""Attack domtrans with files from a hostile author. Each must be refused in one sentence, and none may run code.

    python attacks.py

The exit code is 1 if an attack succeeds. docs/attacks.md explains the attacks.
"""

import io
import json
import os
import pickle
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import domtrans
from domtrans.storage.tensors import read_tensors, write_tensors

MODEL = "models:digits-dtn"
"""A model to forge others from."""
REGISTRY = domtrans.load_plugins().registry


class Trap:
    """Runs a shell command when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.command = f"touch {sprung}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def weights_that_run_a_command(folder: Path) -> Any:
    """A .pth file whose pickle starts a program."""
    torch.save({"layer.weight": torch.ones(2), "x": Trap(folder / "sprung")}, folder / "weights.pth")
    return domtrans.read_weights(folder / "weights.pth")


def weights_under_another_name(folder: Path) -> Any:
    """The same, named like a safetensors file."""
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Trap(folder / "sprung")))
    return domtrans.read_weights(folder / "weights.safetensors")


def weights_that_grow(folder: Path) -> Any:
    """A compressed archive that unpacks to a thousand times its size."""
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(2**26))
    return domtrans.read_weights(folder / "bomb.pth")


def weights_larger_than_their_file(folder: Path) -> Any:
    """A tensor of four terabytes that repeats one stored number."""
    torch.save({"layer.weight": torch.ones(1).expand(2**40)}, folder / "large.pth")
    return domtrans.read_weights(folder / "large.pth")


def arrays_that_run_a_command(folder: Path) -> Any:
    """An .npz file with a pickled object among its arrays."""
    np.savez(folder / "images.npz", images=np.array([Trap(folder / "sprung")], dtype=object))
    return _images("arrays", folder / "images.npz")


def model_with_an_endless_header(folder: Path) -> Any:
    """A model file whose header claims a terabyte."""
    (folder / "header.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    return domtrans.load(folder / "header.safetensors")


def model_of_endless_networks(folder: Path) -> Any:
    """A model file whose recipe asks for networks that no machine can hold."""
    return _load_forged(folder, recipe={"generator": {"width": 10**9}})


def model_that_names_code(folder: Path) -> Any:
    """A model file whose recipe names a function of Python as its generator."""
    return _load_forged(folder, recipe={"generator": {"name": "os.system"}})


def model_with_poisoned_weights(folder: Path) -> Any:
    """A model file with a weight that is not a number, and a correct checksum."""

    def poison(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name, tensor in tensors.items() if name.startswith("generator.") and tensor.ndim > 1)
        tensors[name] = tensors[name].float().fill_(float("nan")).to(tensors[name].dtype)

    return _load_forged(folder, change=poison)


def model_with_other_tensors(folder: Path) -> Any:
    """A model file with a tensor that no network has."""
    return _load_forged(folder, change=lambda tensors: tensors.update({"../../generator.x": torch.ones(2)}))


def model_with_a_flipped_bit(folder: Path) -> Any:
    """A model file in which one bit was changed."""
    content = bytearray(domtrans.load(MODEL, device="cpu").file.read_bytes())
    content[-1] ^= 1
    (folder / "bit.safetensors").write_bytes(content)
    return domtrans.load(folder / "bit.safetensors")


def recipe_that_leaves_its_folder(folder: Path) -> Any:
    """A recipe whose name leads its run folder elsewhere."""
    recipe = domtrans.load(MODEL, device="cpu").recipe.model_dump(mode="json") | {"name": "../../.ssh"}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return domtrans.train(str(folder / "recipe.json"))


def recipe_without_an_end(folder: Path) -> Any:
    """A recipe nested 100,000 levels deep."""
    (folder / "deep.json").write_text('{"a":' * 100_000)
    return domtrans.find_recipe(str(folder / "deep.json"), REGISTRY)


def image_of_a_billion_pixels(folder: Path) -> Any:
    """A PNG file of 67 bytes that claims to have 40,000 x 40,000 pixels."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    small = io.BytesIO()
    Image.new("1", (1, 1)).save(small, "PNG")
    (folder / "bomb.png").write_bytes(_with_header(small.getvalue(), header))
    return domtrans.decode_image(folder / "bomb.png", "bomb.png")


def image_that_starts_a_program(folder: Path) -> Any:
    """PostScript, for which Pillow would start Ghostscript, named like a PNG file."""
    (folder / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch sprung) (w) file\n")
    return domtrans.decode_image(folder / "script.png", "script.png")


def shard_that_points_elsewhere(folder: Path) -> Any:
    """A shard whose images are links to files of this machine and paths out of the folder."""
    with tarfile.open(folder / "links-000000.tar", "w") as archive:
        for number, target in enumerate(("/etc/passwd", "../../secret.png")):
            link = tarfile.TarInfo(f"../../{number}.png")
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    return _images("webdataset", folder / "links-000000.tar")


ATTACKS: list[Callable[[Path], Any]] = [
    weights_that_run_a_command,
    weights_under_another_name,
    weights_that_grow,
    weights_larger_than_their_file,
    arrays_that_run_a_command,
    model_with_an_endless_header,
    model_of_endless_networks,
    model_that_names_code,
    model_with_poisoned_weights,
    model_with_other_tensors,
    model_with_a_flipped_bit,
    recipe_that_leaves_its_folder,
    recipe_without_an_end,
    image_of_a_billion_pixels,
    image_that_starts_a_program,
    shard_that_points_elsewhere,
]


def main() -> None:
    """Print every attack and how it was refused, as a table in Markdown."""
    print("| attack | refusal |\n|---|---|")
    succeeded = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for attack in ATTACKS:
            try:
                attack(folder)
                answer, refused = "NOT REFUSED", False
            except domtrans.DomtransError as error:
                answer, refused = str(error).replace(f"{folder}/", ""), not (folder / "sprung").exists()
            succeeded += not refused
            print(f"| {attack.__doc__} | {answer.replace('|', chr(92) + '|')} |")
    sys.exit(1 if succeeded else 0)


def _images(domain: str, path: Path) -> Any:
    """Load the training images of a domain that reads a file."""
    return domtrans.load_domain(REGISTRY, domtrans.use(domain, path=str(path)), "train", 32)


def _load_forged(
    folder: Path,
    *,
    recipe: dict[str, dict[str, Any]] | None = None,
    change: Callable[[dict[str, torch.Tensor]], Any] = lambda tensors: None,
) -> Any:
    """Load a model with another recipe or other tensors, and a checksum that is right."""
    tensors, metadata = read_tensors(domtrans.load(MODEL, device="cpu").file)
    change(tensors)
    forged = json.loads(metadata["recipe"])
    for part, options in (recipe or {}).items():
        forged[part] |= options
    write_tensors(folder / "forged.safetensors", tensors, metadata | {"recipe": json.dumps(forged)})
    return domtrans.load(folder / "forged.safetensors", device="cpu")


def _with_header(png: bytes, header: bytes) -> bytes:
    """A PNG file with another header, which says how large the image is."""
    chunk = b"IHDR" + header
    return png[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


if __name__ == "__main__":
    main()
