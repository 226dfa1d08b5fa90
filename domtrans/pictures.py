"""Picture files and PIL images of any mode and size, to pixels and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from domtrans.errors import DomtransError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
"""Endings of files that are taken for pictures."""


def read_picture(path: Path) -> Image.Image:
    """A picture file, decoded, turned the way it was taken, as RGB or grey.

    Raises DomtransError if it is missing, cut short, no picture, or large enough to be an attack.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return flatten(image)
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DomtransError(f"{path} has too many pixels to be read safely (limit {Image.MAX_IMAGE_PIXELS:,})") from None
    except UnidentifiedImageError:
        raise DomtransError(f"{path} is not a picture that can be read") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DomtransError(f"{path} cannot be read: {' '.join(str(error).split())[:120]}") from None


def flatten(image: Image.Image) -> Image.Image:
    """Any mode to "L" or "RGB": EXIF rotation applied, transparency laid over white, 16 bits and floats scaled to 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        finite = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
        low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else (float(finite.min()), float(finite.max()))
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        return Image.fromarray(((values - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def from_pil(image: Image.Image, size: int, channels: int = 3) -> Tensor:
    """The centre square of an image, resized: uint8 [channels, size, size]. Raises DomtransError for an empty one."""
    if 0 in image.size:
        raise DomtransError(f"an image of {image.width} x {image.height} pixels holds nothing")
    image = flatten(image).convert("RGB" if channels == 3 else "L")
    square = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(square))
    return pixels.permute(2, 0, 1).contiguous() if pixels.ndim == 3 else pixels[None]


def to_pil(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 1 or 3, H, W] to PIL images of mode "L" or "RGB"."""
    arrays = images.cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays]


def find_pictures(folder: Path) -> list[Path]:
    """All picture files under a folder, sorted by name; hidden ones are passed over. Links to folders are not followed."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(step.startswith(".") for step in path.relative_to(folder).parts))


def read_pictures(paths: Sequence[Path], size: int, channels: int = 3) -> Tensor:
    """uint8 [N, channels, size, size] from picture files; raises DomtransError naming the first that cannot be read."""
    return torch.stack([from_pil(read_picture(path), size, channels) for path in paths])
