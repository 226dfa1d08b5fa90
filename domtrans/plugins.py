"""The one door for parts: plugins are entry points of the group ``domtrans``, registered with pluggy.

Built-in plugins come in the same way. A plugin is a module with one hook::

    import domtrans

    @domtrans.hookimpl
    def register(registry):
        registry.domain("my-digits", my_digits)
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import entrypoints
import pluggy

from domtrans.errors import DomtransError
from domtrans.registry import OwnedRegistry, Registry

GROUP = "domtrans"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Hooks:
    """All the hooks there are."""

    @hookspec
    def register(self, registry: Registry) -> None:
        """Add the plugin's parts to ``registry``; called once, when plugins are loaded."""


@dataclass(frozen=True)
class PluginInfo:
    """One plugin as found: loaded, or broken with the reason."""

    name: str
    distribution: str
    version: str
    module: str
    error: str | None = None
    """One sentence: why it was skipped; None for a plugin that works."""
    details: str = field(default="", repr=False)
    """The full traceback of a broken plugin."""


@dataclass(frozen=True)
class Plugins:
    """The registry that the plugins filled, and what became of each of them."""

    registry: Registry
    infos: tuple[PluginInfo, ...]

    @property
    def broken(self) -> tuple[PluginInfo, ...]:
        """The plugins that were skipped."""
        return tuple(info for info in self.infos if info.error)


def load_plugins(*modules: Any) -> Plugins:
    """Load every installed plugin, then ``modules`` (imported modules or objects with hooks), into a new registry.

    A plugin that fails is skipped and reported in ``infos``; nothing that it registered stays.
    Raises DomtransError when two installed plugins have one name.
    """
    registry = Registry()
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    infos = [_load_one(manager, registry, point) for point in _unique(find_entry_points())]
    for module in modules:
        name = str(getattr(module, "__name__", type(module).__name__))
        _register(manager, registry, name, module)
        infos.append(PluginInfo(name, "", "", name))
    return Plugins(registry, tuple(infos))


def find_entry_points() -> list[entrypoints.EntryPoint]:
    """The only place where entry points are read: those of group ``domtrans``, ours first, then by name."""
    points = entrypoints.get_group_all(GROUP)
    return sorted(points, key=lambda point: (_distribution(point)[0] != GROUP, point.name))


def _unique(points: Iterable[entrypoints.EntryPoint]) -> list[entrypoints.EntryPoint]:
    """Refuse two plugins of one name; the same plugin seen twice on sys.path is one plugin."""
    found: dict[str, entrypoints.EntryPoint] = {}
    for point in points:
        other = found.setdefault(point.name, point)
        if (_distribution(other)[0], other.module_name) != (_distribution(point)[0], point.module_name):
            raise DomtransError(
                f"two installed plugins are called '{point.name}': {_describe(other)} and {_describe(point)}; "
                "uninstall one of them or rename its entry point"
            )
    return list(found.values())


def _load_one(manager: pluggy.PluginManager, registry: Registry, point: entrypoints.EntryPoint) -> PluginInfo:
    distribution, version = _distribution(point)
    error, details = None, ""
    try:
        _register(manager, registry, point.name, point.load())
    except Exception as fault:  # noqa: BLE001 - a stranger's module may raise anything at all
        last = str(fault).strip() or type(fault).__name__
        error = last if isinstance(fault, DomtransError) else f"{type(fault).__name__}: {last.splitlines()[-1]}"
        details = traceback.format_exc()
    return PluginInfo(point.name, distribution, version, point.module_name, error, details)


def _register(manager: pluggy.PluginManager, registry: Registry, name: str, module: Any) -> None:
    """Register one plugin with pluggy and call its hook alone, so that a fault has one owner and leaves no trace."""
    with OwnedRegistry(registry, name) as owned:
        try:
            manager.register(module, name=name)
            manager.check_pending()
            if not manager.get_hookcallers(module):
                raise DomtransError(
                    f"plugin '{name}' has no hook: mark a function `register(registry)` with @domtrans.hookimpl"
                )
            others = [plugin for plugin in manager.get_plugins() if plugin is not module]
            manager.subset_hook_caller("register", others)(registry=owned)
        except BaseException as fault:
            if manager.is_registered(module):
                manager.unregister(module)
            if isinstance(fault, pluggy.PluginValidationError):
                reason = " ".join(str(fault).split())
                raise DomtransError(f"plugin '{name}' has a hook that does not exist or fit: {reason}") from fault
            raise


def _distribution(point: entrypoints.EntryPoint) -> tuple[str, str]:
    distro = point.distro
    return (distro.name, distro.version) if distro is not None else ("unknown", "")


def _describe(point: entrypoints.EntryPoint) -> str:
    return f"{point.module_name} (from {' '.join(_distribution(point)).strip()})"
