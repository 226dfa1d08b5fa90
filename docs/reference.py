"""The reference, read off the code: the hook, every kind with its contracts, every shipped part with its options.

python docs/reference.py > docs/reference.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import domtrans
from domtrans.interfaces import Discriminator, Encoder, Generator, Loss, Outputs
from domtrans.registry.compatibility import INTERFACE_VERSION, VERSION_ATTRIBUTE
from domtrans.registry.describe import Description, default_in_words, describe
from domtrans.registry.plugins import PLUGINS_VARIABLE, GROUP, Hooks, load_plugins
from domtrans.registry.registry import KINDS, Kind, Registry
from domtrans.testing.contracts import CONTRACTS

HEAD = """# Reference

Written by `python docs/reference.py` from the code; a test keeps it so. [How the pieces fit](design.md) comes first,
[your first domain](tutorial-domain.md) shows them in use, and [stability](stability.md) says what may change."""
KINDS_HEAD = """## Kinds of parts

What the engine hands in stands before the `*` of a part's signature; what stands after it is an option that users set.
Each contract is checked by `domtrans.testing.check_<kind>`.

Every part:"""
BASES = {"encoder": Encoder, "generator": Generator, "discriminator": Discriminator, "loss": Loss}
NETWORKS = ("encoder", "generator", "discriminator")


def reference(registry: Registry) -> str:
    """The whole page, in Markdown."""
    return "\n".join(line.rstrip() for line in _page(registry)) + "\n"


def undocumented(registry: Registry) -> list[str]:
    """What the page would have nothing to say about: hooks, kinds, public names, parts, options."""
    gaps = [f"hook {name}" for name, hook in _hooks() if not inspect.getdoc(hook)]
    gaps += [f"kind {kind}" for kind in KINDS if not inspect.getdoc(getattr(Registry, kind))]
    gaps += [f"no contract for {kind}" for kind in KINDS if not _contracts(kind)]
    gaps += [f"domtrans.{name}" for name in dir(domtrans) if not _says(name)]
    for entry in registry:
        described = describe(entry)
        if not described.summary:
            gaps.append(f"{entry.kind} {entry.name}")
        gaps += [f"option {one.name} of {entry.kind} {entry.name}" for one in described.options if not one.help]
    return gaps


def _page(registry: Registry) -> Iterator[str]:
    yield HEAD
    yield ""
    yield from _hook_section()
    yield KINDS_HEAD
    yield ""
    yield from _contract_list("any")
    yield ""
    yield "Encoders, generators and discriminators:"
    yield ""
    yield from _contract_list("network")
    yield ""
    for kind in KINDS.values():
        yield from _kind_section(kind)
    yield "## Shipped parts"
    yield ""
    for entry in sorted(registry, key=lambda entry: (list(KINDS).index(entry.kind), entry.name)):
        yield from _part_section(describe(entry))
    yield from _names_section()


def _hook_section() -> Iterator[str]:
    yield "## The hook"
    yield ""
    yield f"A plugin is an entry point of the group `{GROUP}` that names a module, or an object in one, with the hook:"
    yield ""
    for name, hook in _hooks():
        parameters = ", ".join(parameter for parameter in inspect.signature(hook).parameters if parameter != "self")
        yield f"- `{name}({parameters})`, marked `@domtrans.hookimpl`. {_flat(inspect.getdoc(hook) or '')}"
    yield ""
    yield f"`{VERSION_ATTRIBUTE} = {INTERFACE_VERSION}` in the module states the interface version that the plugin was written for."
    yield f"`${PLUGINS_VARIABLE}` names the plugins to load besides the shipped ones, separated by commas; empty: none."
    yield "`$DOMTRANS_CACHE` is the folder for what can be computed again."
    yield ""


def _kind_section(kind: Kind) -> Iterator[str]:
    yield f"### {kind.name}"
    yield ""
    handed = [*kind.handed, *(f"[{name}]" for name in kind.optional)]
    yield f"`registry.{kind.name}(name, factory)`: {_flat(inspect.getdoc(getattr(Registry, kind.name)) or '')}"
    yield f"Handed in: {', '.join(f'`{name}`' for name in handed) or 'nothing'}. Gives {kind.gives}."
    yield ""
    base = BASES.get(kind.name)
    if base is not None:
        yield f"`domtrans.{base.__name__}`: {_flat(inspect.getdoc(base) or '')}"
        yield ""
        for name, member in vars(base).items():
            if inspect.isfunction(member) and not name.startswith("_"):
                yield f"- `{name}({', '.join(inspect.signature(member).parameters)})`: {_flat(inspect.getdoc(member) or '')}"
        yield ""
    if kind.name == "loss":
        fields = ", ".join(f"`{name}`" for name in Outputs.__dataclass_fields__)
        yield f"Fields of `domtrans.Outputs` that a loss may read: {fields}."
        yield ""
    yield from _contract_list(kind.name)
    yield ""


def _contract_list(group: str) -> Iterator[str]:
    for anchor in _contracts(group):
        if anchor.startswith(f"{group}-"):
            yield f'- <a id="{anchor}"></a>`{anchor}`: {_flat(CONTRACTS[anchor])}'


def _part_section(part: Description) -> Iterator[str]:
    yield f"### {part.kind} `{part.name}`"
    yield ""
    yield f"{part.summary} (plugin `{part.plugin}`)"
    yield ""
    rest = part.about.partition("\n")[2].strip()
    prose = [block for block in rest.split("\n\n") if block.strip() and not block.lstrip().startswith("``")]
    for block in prose:
        yield _flat(block)
        yield ""
    if part.options:
        yield "| option | type | default | |"
        yield "|---|---|---|---|"
        for option in part.options:
            cells = (f"`{option.name}`", option.type, f"`{default_in_words(option.default)}`", _flat(option.help))
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield ""


def _names_section() -> Iterator[str]:
    yield "## Names of `domtrans`"
    yield ""
    yield "All that a program or a plugin may import, besides `domtrans.testing`."
    yield ""
    for name in sorted(dir(domtrans)):
        yield f"- `{name}`: {_says(name)}"


def _says(name: str) -> str:
    """The first sentence about a public name: its docstring's, or, for a plain value, that of the line after it."""
    value = getattr(domtrans, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return re.split(r"(?<!e\.g)\. ", _flat(inspect.getdoc(value) or ""))[0].rstrip(".")
    if isinstance(value, int | str):
        return f"{value!r}"
    return VALUES.get(name, "")


VALUES = {
    "STRATEGIES": "by name, a sentence and changes to a recipe: the study's advice on training, for studies that try it",
    "Augmentation": "type of an augmentation: (images, rng) -> images",
    "AugmentationOption": "annotation of an option that takes an augmentation by name",
    "Distance": "type of a distance: (a, b, classify=None) -> scalar",
    "DistanceOption": "annotation of an option that takes a distance by name",
    "DomainOption": "annotation of an option that takes a domain by name",
    "EncoderOption": "annotation of an option that takes an encoder by name",
    "Memory": "type of an option: whether a domain holds its images in memory",
    "hookimpl": "marks a plugin's hook",
}
"""Public names that cannot carry a docstring."""


def _hooks() -> list[tuple[str, Callable[..., Any]]]:
    return [(name, member) for name, member in vars(Hooks).items() if inspect.isfunction(member)]


def _contracts(kind: str) -> list[str]:
    groups = (kind, "network") if kind in NETWORKS else (kind,)
    return [anchor for anchor in CONTRACTS if anchor.partition("-")[0] in groups]


def _flat(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


if __name__ == "__main__":
    sys.stdout.write(reference(load_plugins(only=()).registry))
