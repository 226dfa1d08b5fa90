"""Optional dependencies: libraries that only some features need, installed as an extra of the package."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError


def require_extra(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: Name of the module, e.g. "onnxruntime.quantization".
        extra: The extra of domtrans that installs it.
        purpose: What needs it, as the beginning of a sentence, e.g. "an ONNX file".

    Returns:
        The module.

    Raises:
        DomtransError: With the pip command, if the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DomtransError(
            f"{purpose} needs the library {module.partition('.')[0]}, which cannot be imported ({error}); "
            f"install it with: pip install 'domtrans[{extra}]'"
        ) from None


def require_extra_file(package: str, file: str, extra: str, purpose: str) -> Path:
    """The path of a data file in the package of an optional dependency. The package is located and not imported.

    Args:
        package: Name of the top-level package, e.g. "face_recognition_models".
        file: Path of the file inside the package, e.g. "models/net.dat".
        extra: The extra of domtrans that installs it.
        purpose: What needs it, as the beginning of a sentence, e.g. "the encoder 'dlib-resnet'".

    Returns:
        The path.

    Raises:
        DomtransError: With the pip command, if the package is not installed or does not have the file.
    """
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations if found else None) or ():
        if (path := Path(folder, file)).is_file():
            return path
    raise DomtransError(
        f"{purpose} needs the file {file} of the package {package}, which is not installed; "
        f"install it with: pip install 'domtrans[{extra}]'"
    )


def library(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional dependency. Deprecated: use ``require_extra``."""
    warnings.warn("domtrans.library is deprecated; use domtrans.require_extra", DeprecationWarning, stacklevel=2)
    return require_extra(module, extra, purpose)
