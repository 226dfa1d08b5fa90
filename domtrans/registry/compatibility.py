"""Which plugins fit this domtrans: the version of what a plugin sees, and what to say of one written for another.

The interface is all that ``domtrans/__init__.pyi`` names, ``domtrans.testing``, the hook, and how each kind of part is
called. ``docs/stability.md`` says what its version promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domtrans.errors import DomtransError

INTERFACE_VERSION = 1
"""Raised by one whenever a plugin that keeps to the documented interface would have to change."""

STATEMENT = "domtrans_interface"
"""What a plugin's module writes to say which version it was written for: ``domtrans_interface = 1``."""


@dataclass(frozen=True)
class Compatibility:
    """What a plugin states, and what it should do about it."""

    stated: int | None = None
    """None: it does not say, and is taken to be written for the present version."""
    advice: str | None = None
    """One sentence for a plugin that works now and will not with the next interface version."""


def check_interface(name: str, plugin: Any) -> Compatibility:
    """Compare what a plugin states with ``INTERFACE_VERSION``; one version back still works, with advice.

    Raises DomtransError, saying what to upgrade, for a plugin of any other version.
    """
    stated = getattr(plugin, STATEMENT, None)
    if stated is None:
        return Compatibility()
    if not isinstance(stated, int) or isinstance(stated, bool):
        raise DomtransError(f"plugin '{name}' states {STATEMENT} = {stated!r}; it must be a whole number")
    here = f"this domtrans has version {INTERFACE_VERSION}"
    written = f"plugin '{name}' is written for interface version {stated} of domtrans, and {here}"
    if stated > INTERFACE_VERSION:
        raise DomtransError(
            f"{written}: upgrade domtrans (pip install --upgrade domtrans), or install an older release of the plugin"
        )
    if stated < max(1, INTERFACE_VERSION - 1):
        raise DomtransError(f"{written}: upgrade the plugin, or install an older domtrans")
    advice = f"{written}, the last one to accept it: upgrade the plugin (its author: see docs/stability.md)"
    return Compatibility(stated, advice if stated < INTERFACE_VERSION else None)
