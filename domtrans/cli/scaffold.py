"""``domtrans new-plugin``: write a small package that can be installed at once, with a plugin to start from."""

from __future__ import annotations

import importlib.util
import keyword
import re
import string
from importlib import resources
from pathlib import Path

import domtrans
from domtrans.errors import DomtransError
from domtrans.registry.compatibility import INTERFACE_VERSION
from domtrans.registry.registry import Registry

PREFIX = "domtrans-"
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
TRAIN = "domtrans train digits-dtn"

USES = {
    "domain": f"{TRAIN} source=NAME",
    "encoder": f"{TRAIN} encoder=NAME adapt=none",
    "loss": f'{TRAIN} \'generator_losses.NAME={{"name": "NAME", "weight": 1}}\'',
    "distance": f"{TRAIN} generator_losses.const.distance=NAME",
    "metric": f"{TRAIN} 'metrics.NAME=NAME'",
    "recipe": "domtrans train NAME",
}
"""The kinds that have a template, and a command that uses the new part."""

TEMPLATE_NAMES = {"register", "domtrans", "np", "F", "nn", "use", "term", "Tensor"}
"""Names that the templates use themselves."""

SMALL_SIZES = """
    small = {"source.count": 40, "source.test_count": 20, "fit.steps": 2, "metrics.digits.steps": 2, "train.batch_size": 8}"""
TEST_OPTIONS = {"recipe": (", overrides=small, steps=2", SMALL_SIZES)}
"""For kinds whose test needs more: further arguments, and code before the check."""


def new_plugin(name: str, kind: str = "domain", parent: str | Path = ".", *, registry: Registry | None = None) -> Path:
    """Write the package ``domtrans-NAME``, which registers a part ``NAME``.

    Args:
        name: Name of the part.
        kind: Kind of the part, one of ``USES``.
        parent: Folder in which the folder of the package is created.
        registry: The installed parts, to refuse a name that is taken.

    Returns:
        The folder of the package.

    Raises:
        DomtransError: If the name is invalid or taken, the kind has no template, or the folder exists.
    """
    name = name.removeprefix(PREFIX)
    if kind not in USES:
        raise DomtransError(f"there is no template for the kind '{kind}'; choose one of {', '.join(USES)}")
    if not PLUGIN_NAME.fullmatch(name) or name == "none":
        raise DomtransError(
            f"'{name}' cannot be the name of a plugin; use lower-case letters, digits and single hyphens, e.g. my-digits"
        )
    distribution, identifier = PREFIX + name, name.replace("-", "_")
    title = "".join(word.capitalize() for word in name.split("-"))
    module, folder = f"domtrans_{identifier}", Path(parent) / (PREFIX + name)
    if folder.exists():
        raise DomtransError(f"{folder} exists already; choose another name or delete it")
    if registry is not None and name in registry.names(kind):
        owner = registry.get(kind, name).owner
        raise DomtransError(f"plugin '{owner}' already has a {kind} '{name}'; choose another name")
    if importlib.util.find_spec(module) is not None:
        raise DomtransError(f"a module {module} is already installed; choose another name")
    words = {
        "name": name,
        "kind": kind,
        "distribution": distribution,
        "module": module,
        "identifier": f"{identifier}_{kind}" if keyword.iskeyword(identifier) or identifier in TEMPLATE_NAMES else identifier,
        "title": f"{title}{kind.capitalize()}" if title in TEMPLATE_NAMES else title,
        "version": domtrans.__version__,
        "interface": str(INTERFACE_VERSION),
        "use": USES[kind].replace("NAME", name),
        "options": TEST_OPTIONS.get(kind, ("", ""))[0],
        "before": TEST_OPTIONS.get(kind, ("", ""))[1],
    }
    files = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        f"{module}.py": f"{kind}.py.txt",
        f"test_{identifier}.py": "test.py.txt",
    }
    # All files are rendered before the first is written, so that an error leaves no incomplete package.
    templates = resources.files("domtrans.cli") / "templates"
    texts = {
        path: string.Template((templates / template).read_text("utf-8")).substitute(words) for path, template in files.items()
    }
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DomtransError(f"{folder} cannot be written: {error.strerror or error}") from None
    return folder
