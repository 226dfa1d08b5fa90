"""Optional dependencies: libraries that only some features need, installed as an extra of the package."""

from __future__ import annotations

import importlib
import warnings
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


def library(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional dependency. Deprecated: use ``require_extra``."""
    warnings.warn("domtrans.library is deprecated; use domtrans.require_extra", DeprecationWarning, stacklevel=2)
    return require_extra(module, extra, purpose)
