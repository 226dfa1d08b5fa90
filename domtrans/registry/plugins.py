"""Plugins are entry points of the group ``domtrans``, registered with pluggy. Shipped plugins use the same mechanism.

A plugin is a module with one hook::

    import domtrans

    domtrans_interface = 1  # the interface version the plugin was written for

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
from domtrans.registry.compatibility import VERSION_ATTRIBUTE, Compatibility, check_interface
from domtrans.registry.parts import did_you_mean
from domtrans.registry.registry import Registry, registration

GROUP = "domtrans"
PLUGINS_VARIABLE = "DOMTRANS_PLUGINS"
"""Environment variable with the names of the plugins to load besides the shipped ones, separated by commas."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Decorator that marks a plugin's ``register`` as the implementation of the hook."""


class Hooks:
    """The hooks that a plugin may implement."""

    @hookspec
    def register(self, registry: Registry) -> None:
        """Register the plugin's parts. Called once, when plugins are loaded."""


@dataclass(frozen=True)
class PluginInfo:
    """One installed plugin: loaded, or skipped with the reason."""

    name: str
    distribution: str
    version: str
    module: str
    error: str | None = None
    """One sentence that says why the plugin was skipped; None if it works."""
    details: str = field(default="", repr=False)
    """The full traceback of a broken plugin."""
    interface: int | None = None
    """The interface version that the plugin states; None if it states none."""
    advice: str | None = None
    """One sentence about a plugin that works now but will not work with the next interface version."""

    @property
    def origin(self) -> str:
        """Distribution, version and interface of the plugin, in words; model files record it."""
        where = f"{self.distribution} {self.version}" if self.distribution else f"the module {self.module}"
        return f"{where} (plugin '{self.name}', interface {'unstated' if self.interface is None else self.interface})"


@dataclass(frozen=True)
class Plugins:
    """The result of loading plugins.

    Args:
        registry: The registry with the parts of all working plugins.
        infos: One record for each plugin, in the order of loading.
    """

    registry: Registry
    infos: tuple[PluginInfo, ...]

    @property
    def broken(self) -> tuple[PluginInfo, ...]:
        """The plugins that were skipped."""
        return tuple(info for info in self.infos if info.error)


def load_plugins(*modules: Any, only: Iterable[str] | None = None) -> Plugins:
    """Load the installed plugins, then ``modules``, into a new registry.

    An installed plugin that fails is skipped and reported in ``infos``; none of its parts stay registered.

    Args:
        modules: Further plugins: imported modules, or objects with hooks. An error in one of them is raised.
        only: Names of the plugins to load besides the shipped ones; by default those in ``$DOMTRANS_PLUGINS``, or all.

    Returns:
        The registry, and one record for each plugin.

    Raises:
        DomtransError: If two plugins have the same name, or one of ``only`` is not installed.
    """
    registry = Registry()
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    infos = [_load_one(manager, registry, point) for point in _unique(_select(find_entry_points(), only))]
    for module in modules:
        name = str(getattr(module, "__name__", type(module).__name__))
        compatibility = _register(manager, registry, name, module)
        infos.append(PluginInfo(name, "", "", name, interface=compatibility.stated, advice=compatibility.advice))
    registry.origins = {info.name: info.origin for info in infos if not info.error}
    return Plugins(registry, tuple(infos))


def find_entry_points() -> list[entrypoints.EntryPoint]:
    """Read the entry points of group ``domtrans``: shipped plugins first, then by name.

    Raises:
        DomtransError: If the list of entry points of an installed distribution is damaged; it names the file.
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
    """Return whether a plugin is part of the distribution domtrans."""
    return _distribution(point)[0] == GROUP


def _select(points: list[entrypoints.EntryPoint], only: Iterable[str] | None) -> list[entrypoints.EntryPoint]:
    """Return the shipped plugins and those that the caller or the environment names."""
    where = "load_plugins(only=...)"
    if only is None:
        if PLUGINS_VARIABLE not in os.environ:
            return points
        only, where = os.environ[PLUGINS_VARIABLE].split(","), PLUGINS_VARIABLE
    wanted = {name.strip() for name in only} - {""}
    names = {point.name for point in points}
    for name in sorted(wanted - names):
        raise DomtransError(f"{where} names '{name}', which is not installed{did_you_mean(name, names, 'plugins')}")
    return [point for point in points if is_shipped(point) or point.name in wanted]


def _unique(points: Iterable[entrypoints.EntryPoint]) -> list[entrypoints.EntryPoint]:
    """Refuse two plugins with the same name. One plugin that is on sys.path twice counts once."""
    by_name: dict[str, entrypoints.EntryPoint] = {}
    for point in points:
        other = by_name.setdefault(point.name, point)
        if (_distribution(other)[0], other.module_name) != (_distribution(point)[0], point.module_name):
            raise DomtransError(
                f"two installed plugins are called '{point.name}': {_origin(other)} and {_origin(point)}; "
                "uninstall one of them or rename its entry point"
            )
    return list(by_name.values())


def _load_one(manager: pluggy.PluginManager, registry: Registry, point: entrypoints.EntryPoint) -> PluginInfo:
    """Load one installed plugin; if that fails, say so in what is returned."""
    distribution, version = _distribution(point)
    compatibility, error, details = Compatibility(), None, ""
    try:
        module = point.load()
        stated = getattr(module, VERSION_ATTRIBUTE, None)
        compatibility = Compatibility(stated if isinstance(stated, int) else None)  # known even if the plugin is refused
        # Tests check the types of the shipped parts, which takes a tenth of the time of a short command.
        compatibility = _register(manager, registry, point.name, module, check_types=not is_shipped(point))
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001 - a third-party module may raise anything
        message = str(fault).strip() or type(fault).__name__
        error = message if isinstance(fault, DomtransError) else f"{type(fault).__name__}: {message.splitlines()[-1]}"
        details = traceback.format_exc()
    return PluginInfo(
        name=point.name,
        distribution=distribution,
        version=version,
        module=point.module_name,
        error=error,
        details=details,
        interface=compatibility.stated,
        advice=compatibility.advice,
    )


def _register(
    manager: pluggy.PluginManager, registry: Registry, name: str, module: Any, *, check_types: bool = True
) -> Compatibility:
    """Register one plugin with pluggy and call only its hook, so that an error is its own and leaves no parts behind."""
    if manager.has_plugin(name) or manager.is_registered(module):
        raise DomtransError(f"plugin '{name}' is loaded already; each plugin is loaded once, under its own name")
    compatibility = check_interface(name, module)
    if compatibility.advice:
        warnings.warn(compatibility.advice, DeprecationWarning, stacklevel=2)
    with registration(registry, name, check_types=check_types):
        try:
            manager.register(module, name=name)
            manager.check_pending()
            if not manager.get_hookcallers(module):
                raise DomtransError(
                    f"plugin '{name}' has no hook: mark a function `register(registry)` with @domtrans.hookimpl"
                )
            others = [plugin for plugin in manager.get_plugins() if plugin is not module]
            manager.subset_hook_caller("register", others)(registry=registry)
        except BaseException as fault:
            if manager.is_registered(module):
                manager.unregister(module)
            if isinstance(fault, pluggy.PluginValidationError):
                reason = " ".join(str(fault).split())
                raise DomtransError(f"plugin '{name}' has an unknown hook, or one with wrong parameters: {reason}") from fault
            raise
    return compatibility


def _distribution(point: entrypoints.EntryPoint) -> tuple[str, str]:
    distro = point.distro
    return (distro.name, distro.version) if distro is not None else ("unknown", "")


def _origin(point: entrypoints.EntryPoint) -> str:
    return f"{point.module_name} (from {' '.join(_distribution(point)).strip()})"
