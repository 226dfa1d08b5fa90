"""``check_plugin``: every check for an installed plugin, in one report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from packaging.utils import canonicalize_name

from domtrans import testing
from domtrans.errors import DomtransError, one_line
from domtrans.registry.describe import describe
from domtrans.registry.plugins import PluginInfo, load_plugins
from domtrans.registry.registry import Entry, Registry


@dataclass(frozen=True)
class PluginFinding:
    """The outcome of one check.

    Attributes:
        subject: What was checked: "package", or the kind and name of a part.
        check: "builds", "import time", "loads", "interface" or "licence"; of a part "options" or "contracts".
        fault: What is wrong, in one sentence; empty if nothing is.
        skipped: Why it was not checked; empty if it was.
        detail: What was found, e.g. the licence; empty if there is nothing to say.
    """

    subject: str
    check: str
    fault: str = ""
    skipped: str = ""
    detail: str = ""


def check_plugin(name: str, options: Mapping[str, Mapping[str, Any]] | None = None) -> list[PluginFinding]:
    """Check an installed plugin.

    It must load and state its interface and licence; every part must explain its options and keep its contracts.

    Args:
        name: The name of the plugin, or of its package.
        options: Options of its parts, by the name of the part, e.g. small sizes: ``{"rings": {"count": 8}}``.

    Returns:
        The outcome of every check.

    Raises:
        DomtransError: If no such plugin is installed.
    """
    package = canonicalize_name(name)
    infos = [info for info in load_plugins().infos if name == info.name or package == canonicalize_name(info.distribution)]
    if not infos:
        raise DomtransError(f"no plugin '{name}' is installed; `domtrans plugins` lists those that are")
    findings = []
    for info in infos:
        findings += [PluginFinding("package", "loads", info.error or ""), *_about_package(info)]
        if not info.error:
            registry = load_plugins(only=[info.name]).registry
            for entry in registry:
                if entry.owner == info.name:
                    findings.append(_options(entry))
                    findings.append(_contracts(registry, entry, (options or {}).get(entry.name, {})))
    return findings


def _about_package(info: PluginInfo) -> Iterator[PluginFinding]:
    unstated = "" if info.interface is not None else "it does not state the interface version: add domtrans_interface = 1"
    yield PluginFinding("package", "interface", info.advice or unstated)
    about = metadata.metadata(info.distribution)
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    named = [name for field in ("License-Expression", "License") for name in about.get_all(field) or [] if name]
    licence = ", ".join(named[:1] or classifiers)
    missing = "" if licence else "its metadata states no licence: add license to pyproject.toml"
    yield PluginFinding("package", "licence", missing, detail=one_line(licence)[:60])


def _options(entry: Entry) -> PluginFinding:
    """Whether the docstring of a part explains every option."""
    options = describe(entry).options
    silent = [option.name for option in options if not option.help]
    fault = f"its docstring does not explain {', '.join(silent)}" if silent else ""
    return PluginFinding(f"{entry.kind} {entry.name}", "options", fault, detail=f"{len(options)} explained")


def _contracts(registry: Registry, entry: Entry, options: Mapping[str, Any]) -> PluginFinding:
    """Check the contracts of a part."""
    subject, check = f"{entry.kind} {entry.name}", getattr(testing, f"check_{entry.kind}", None)
    needed = [option.name for option in describe(entry).options if option.required and option.name not in options]
    if check is None:
        return PluginFinding(subject, "contracts", skipped="there is no check for this kind")
    if needed:
        return PluginFinding(subject, "contracts", skipped=f"it needs options: give {entry.name}.{needed[0]}=VALUE")
    try:
        check(registry, entry.name, **options)
    except (AssertionError, DomtransError) as fault:
        return PluginFinding(subject, "contracts", _sentence(fault))
    except Exception as error:  # noqa: BLE001 - a part may raise anything
        return PluginFinding(subject, "contracts", f"{type(error).__name__}: {_sentence(error)}")
    return PluginFinding(subject, "contracts")


def _sentence(error: Exception) -> str:
    return one_line(" ".join(str(error).split()))
