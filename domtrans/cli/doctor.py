"""Checks of the installation. Each says what it found and, if something is wrong, how to fix it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement

from domtrans.errors import DomtransError, reason_of
from domtrans.storage.paths import cache_folder

Status = Literal["ok", "note", "broken"]
LOW_DISK_BYTES = 2e9
"""Below this, the next training may not have enough space for its runs and caches."""
MIN_DISK_BYTES = 1e8


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        name: What was checked.
        status: "ok"; "note" if it is worth knowing and stops nothing; "broken" if something will fail.
        found: What the check found.
        fix: What to do about it; empty if nothing.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


def diagnose() -> list[Finding]:
    """Run all checks. A check that raises becomes a finding."""
    findings = []
    for check in (_python, _dependencies, _torch, _extras, _cache, _disk, _plugins):
        try:
            findings += list(check())
        except Exception as fault:  # noqa: BLE001 - the other checks still help
            name = check.__name__.strip("_")
            findings.append(
                Finding(name, "broken", f"the check failed: {type(fault).__name__}: {fault}", "report this as a bug")
            )
    return findings


def is_healthy(findings: list[Finding]) -> bool:
    """Whether no check found anything broken."""
    return all(finding.status != "broken" for finding in findings)


def _python() -> Iterator[Finding]:
    found = f"Python {platform.python_version()} in {sys.prefix}"
    right = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if right else "broken", found, "" if right else "domtrans needs Python 3.11 or newer")


def _dependencies() -> Iterator[Finding]:
    try:
        about = metadata.distribution("domtrans")
    except metadata.PackageNotFoundError:
        yield Finding(
            "domtrans", "broken", "domtrans is on sys.path, but not installed", "pip install domtrans, or pip install -e ."
        )
        return
    yield Finding("domtrans", "ok", f"domtrans {about.version} in {Path(__file__).parents[1]}")
    bad = 0
    for requirement in _requirements(about):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        fault = _fault(requirement)
        if fault:
            bad += 1
            yield Finding(f"dependency {requirement.name}", "broken", fault, f"pip install --upgrade '{_plain(requirement)}'")
    if not bad:
        yield Finding("dependencies", "ok", "all are installed in a supported version")


def _torch() -> Iterator[Finding]:
    try:
        import torch

        from domtrans.compute.device import pick_device, pick_dtype
    except Exception as fault:  # noqa: BLE001 - an incomplete installation of torch fails in many ways
        reason = reason_of(fault)
        yield Finding(
            "torch", "broken", f"torch cannot be imported: {reason}", "reinstall torch: https://pytorch.org/get-started/locally"
        )
        return
    device = pick_device()
    dtype = str(pick_dtype("auto", device)).removeprefix("torch.")
    named = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else f" ({torch.get_num_threads()} threads)"
    yield Finding("torch", "ok", f"torch {torch.__version__}")
    yield Finding("device", "ok", f"{device.type}{named}, precision {dtype}")
    try:
        float((torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)).sum())
    except RuntimeError as fault:
        reason = reason_of(fault)
        fix = "train with --device cpu, or repair the driver"
        yield Finding("device", "broken", f"a test computation on {device.type} fails: {reason}", fix)
    if not torch.cuda.is_available() and shutil.which("nvidia-smi"):
        fix = "install a torch built for the CUDA version that nvidia-smi shows: https://pytorch.org/get-started/locally"
        yield Finding("device", "note", "an NVIDIA driver is installed, but torch cannot use the GPU", fix)


def _extras() -> Iterator[Finding]:
    try:
        about = metadata.distribution("domtrans")
    except metadata.PackageNotFoundError:
        return
    for extra in about.metadata.get_all("Provides-Extra") or []:
        wanted = [
            requirement
            for requirement in _requirements(about)
            if requirement.marker is not None
            and requirement.marker.evaluate({"extra": extra})
            and not requirement.marker.evaluate({"extra": ""})
        ]
        missing = [requirement.name for requirement in wanted if _fault(requirement)]
        name = f"extra {extra}"
        if missing:
            yield Finding(
                name, "note", f"incomplete: {', '.join(missing)} missing", f"if you need it: pip install 'domtrans[{extra}]'"
            )
        else:
            yield Finding(name, "ok", "installed")


def _cache() -> Iterator[Finding]:
    folder = cache_folder()
    fix = "set DOMTRANS_CACHE to a writable folder; until then, everything is computed again each time"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        yield Finding("cache", "note", f"{folder} cannot be written: {fault.strerror or fault}", fix)
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield Finding("cache", "ok", f"{folder}, {_size(size)}; deleting it is safe and only costs time")


def _disk() -> Iterator[Finding]:
    places = {"in this folder": Path.cwd(), "in the cache": _existing(cache_folder())}
    for name, folder in places.items():
        free = shutil.disk_usage(folder).free
        status: Status = "ok" if free >= LOW_DISK_BYTES else "note" if free >= MIN_DISK_BYTES else "broken"
        fix = "" if status == "ok" else "free some space, or train with --out on another disk and set DOMTRANS_CACHE"
        yield Finding("disk", status, f"{_size(free)} free {name} ({folder})", fix)


def _plugins() -> Iterator[Finding]:
    from domtrans.registry.plugins import PLUGINS_VARIABLE, load_plugins

    try:
        plugins = load_plugins()
    except DomtransError as fault:
        fix = f"set {PLUGINS_VARIABLE}=NAME,NAME to load only the plugins that you name"
        yield Finding("plugins", "broken", str(fault), fix)
        return
    shipped = [info for info in plugins.infos if info.distribution == "domtrans"]
    if not shipped:
        yield Finding(
            "plugins", "broken", "the shipped plugins are not registered", "reinstall: pip install --force-reinstall domtrans"
        )
    broken = plugins.broken
    chosen = f"; {PLUGINS_VARIABLE}={os.environ[PLUGINS_VARIABLE]}" if PLUGINS_VARIABLE in os.environ else ""
    working = len(plugins.infos) - len(broken)
    third_party = working - len([info for info in shipped if not info.error])
    yield Finding("plugins", "ok", f"{working} loaded, {third_party} of them third-party{chosen}")
    for info in broken:
        fix = f"`domtrans plugins --verbose` shows the traceback; upgrade or uninstall {info.distribution}"
        yield Finding(f"plugin {info.name}", "broken", f"from {info.distribution} {info.version}: {info.error}", fix)
    for info in plugins.infos:
        if info.advice:
            yield Finding(f"plugin {info.name}", "note", info.advice, f"pip install --upgrade {info.distribution}")


def _requirements(about: metadata.Distribution) -> Iterator[Requirement]:
    for text in about.requires or []:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue


def _fault(requirement: Requirement) -> str | None:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return "not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"version {version} is installed, {requirement.specifier} is needed"
    return None


def _plain(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
