"""The one door for parts: plugins are entry points of the group ``domtrans``, registered with pluggy.

Built-in plugins come in the same way. A plugin is a module with one hook::

    import domtrans

    domtrans_interface = 1  # the interface version that it was written for

    @domtrans.hookimpl
    def register(registry):
        registry.domain("my-digits", my_digits)
"""

from __future__ import annotations

import configparser
import os
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import entrypoints
import pluggy

from domtrans.errors import DomtransError
from domtrans.registry.compatibility import Compatibility, check_interface
from domtrans.registry.parts import did_you_mean
from domtrans.registry.registry import OwnedRegistry, Registry

GROUP = "domtrans"
CHOICE = "DOMTRANS_PLUGINS"
"""Environment variable: names of the plugins to load besides the shipped ones, separated by commas; empty: none."""

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
    interface: int | None = None
    """The interface version that it states; None: it does not say."""
    advice: str | None = None
    """One sentence about a plugin that works now and will not with the next interface version."""

    @property
    def origin(self) -> str:
        """Where it comes from, in words, for models made with it."""
        where = f"{self.distribution} {self.version}" if self.distribution else f"the module {self.module}"
        return f"{where} (plugin '{self.name}', interface {'unstated' if self.interface is None else self.interface})"


@dataclass(frozen=True)
class Plugins:
    """The registry that the plugins filled, and what became of each of them."""

    registry: Registry
    infos: tuple[PluginInfo, ...]

    @property
    def broken(self) -> tuple[PluginInfo, ...]:
        """The plugins that were skipped."""
        return tuple(info for info in self.infos if info.error)


def load_plugins(*modules: Any, only: Iterable[str] | None = None) -> Plugins:
    """Load the installed plugins, then ``modules`` (imported modules or objects with hooks), into a new registry.

    ``only``: names of the plugins to load besides the shipped ones; by default those in ``$DOMTRANS_PLUGINS``, or all.
    A plugin that fails is skipped and reported in ``infos``; nothing that it registered stays.
    Raises DomtransError when two of the plugins have one name, or one that is asked for is not installed.
    """
    registry = Registry()
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    infos = [_load_one(manager, registry, point) for point in _unique(_chosen(find_entry_points(), only))]
    for module in modules:
        name = str(getattr(module, "__name__", type(module).__name__))
        found = _register(manager, registry, name, module)
        infos.append(PluginInfo(name, "", "", name, interface=found.stated, advice=found.advice))
    registry.origins = {info.name: info.origin for info in infos if not info.error}
    return Plugins(registry, tuple(infos))


def find_entry_points() -> list[entrypoints.EntryPoint]:
    """The only place where entry points are read: those of group ``domtrans``, ours first, then by name.

    Raises DomtransError, naming the file, if some distribution's list of entry points is damaged.
    """
    points = []
    try:
        for config, distribution in entrypoints.iter_files_distros():
            for name, target in config[GROUP].items() if GROUP in config else ():
                points.append(entrypoints.EntryPoint.from_string(target, name, distribution))
    except (configparser.Error, entrypoints.BadEntryPoint, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DomtransError(f"the entry points of an installed distribution cannot be read: {reason}; reinstall it") from None
    return sorted(points, key=lambda point: (not is_shipped(point), point.name))


def is_shipped(point: entrypoints.EntryPoint) -> bool:
    """Whether a plugin comes with domtrans itself."""
    return _distribution(point)[0] == GROUP


def _chosen(points: list[entrypoints.EntryPoint], only: Iterable[str] | None) -> list[entrypoints.EntryPoint]:
    """The shipped plugins and those asked for."""
    where = "load_plugins(only=...)"
    if only is None:
        if CHOICE not in os.environ:
            return points
        only, where = os.environ[CHOICE].split(","), CHOICE
    wanted = {name.strip() for name in only} - {""}
    names = {point.name for point in points}
    for name in sorted(wanted - names):
        raise DomtransError(f"{where} names '{name}', which is not installed{did_you_mean(name, names, 'plugins')}")
    return [point for point in points if is_shipped(point) or point.name in wanted]


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
    found, error, details = Compatibility(), None, ""
    try:
        found = _register(manager, registry, point.name, point.load())
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001 - a stranger's module may raise anything at all
        last = str(fault).strip() or type(fault).__name__
        error = last if isinstance(fault, DomtransError) else f"{type(fault).__name__}: {last.splitlines()[-1]}"
        details = traceback.format_exc()
    return PluginInfo(point.name, distribution, version, point.module_name, error, details, found.stated, found.advice)


def _register(manager: pluggy.PluginManager, registry: Registry, name: str, module: Any) -> Compatibility:
    """Register one plugin with pluggy and call its hook alone, so that a fault has one owner and leaves no trace."""
    if manager.has_plugin(name) or manager.is_registered(module):
        raise DomtransError(f"plugin '{name}' is loaded already; a plugin is loaded once, and no two have one name")
    found = check_interface(name, module)
    if found.advice:
        warnings.warn(found.advice, DeprecationWarning, stacklevel=2)
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
    return found


def _distribution(point: entrypoints.EntryPoint) -> tuple[str, str]:
    distro = point.distro
    return (distro.name, distro.version) if distro is not None else ("unknown", "")


def _describe(point: entrypoints.EntryPoint) -> str:
    return f"{point.module_name} (from {' '.join(_distribution(point)).strip()})"
