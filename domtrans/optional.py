"""Libraries that only some tasks need: an extra of the package brings them, and who lacks one is told which."""

from __future__ import annotations

import importlib
from typing import Any

from domtrans.errors import DomtransError


def library(module: str, extra: str, purpose: str) -> Any:
    """Import a library of an extra; raises DomtransError with the pip command if it is not installed.

    ``purpose``: what needs it, as the sentence begins, e.g. "an ONNX file".
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DomtransError(
            f"{purpose} needs the library {module.partition('.')[0]}, which cannot be imported ({error}); "
            f"install it with: pip install 'domtrans[{extra}]'"
        ) from None
