"""Compatibility of plugins with this version of domtrans.

The plugin interface is everything in ``domtrans/__init__.pyi``, ``domtrans.testing``, the hook, and how the engine calls each
kind of part. ``docs/stability.md`` says what its version number promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domtrans.errors import DomtransError

INTERFACE_VERSION = 1
"""Version of the plugin interface. It rises when plugins that keep to the documented interface have to change."""

VERSION_ATTRIBUTE = "domtrans_interface"
"""Module attribute in which a plugin states the interface version it was written for: ``domtrans_interface = 1``."""


@dataclass(frozen=True)
class Compatibility:
    """The interface version that a plugin states, and advice if that version is old."""

    stated: int | None = None
    """None if the plugin states no version; it is then treated as written for the current one."""
    advice: str | None = None
    """One sentence about a plugin that works now but will not work with the next interface version."""


def check_interface(name: str, plugin: Any) -> Compatibility:
    """Compare the version that a plugin states with ``INTERFACE_VERSION``. The previous version still works, with advice.

    Raises:
        DomtransError: If the plugin was written for any other version; it says what to upgrade.
    """
    stated = getattr(plugin, VERSION_ATTRIBUTE, None)
    if stated is None:
        return Compatibility()
    if not isinstance(stated, int) or isinstance(stated, bool):
        raise DomtransError(f"plugin '{name}' states {VERSION_ATTRIBUTE} = {stated!r}; it must be an integer")
    here = f"this domtrans has version {INTERFACE_VERSION}"
    versions = f"plugin '{name}' is written for interface version {stated} of domtrans, and {here}"
    if stated > INTERFACE_VERSION:
        raise DomtransError(
            f"{versions}: upgrade domtrans (pip install --upgrade domtrans), or install an older release of the plugin"
        )
    if stated < max(1, INTERFACE_VERSION - 1):
        raise DomtransError(f"{versions}: upgrade the plugin, or install an older domtrans")
    advice = f"{versions}, the last one to accept it: upgrade the plugin (its author: see docs/stability.md)"
    return Compatibility(stated, advice if stated < INTERFACE_VERSION else None)
