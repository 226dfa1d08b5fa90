"""``domtrans new-plugin``: a small, complete, installable package to begin from."""

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
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
RUN = "domtrans train digits-dtn"

USES = {
    "domain": f"{RUN} source=NAME",
    "encoder": f"{RUN} encoder=NAME adapt=none",
    "loss": f'{RUN} \'generator_losses.NAME={{"name": "NAME", "weight": 1}}\'',
    "distance": f"{RUN} generator_losses.const.distance=NAME",
    "metric": f"{RUN} 'metrics.NAME=NAME'",
    "recipe": "domtrans train NAME",
}
"""The kinds that there is a template for, and how to use what it makes."""

TAKEN = {"register", "domtrans", "np", "F", "nn", "use", "term", "Tensor"}
"""Words that the templates use themselves."""

SMALL = """
    small = {"source.count": 40, "source.test_count": 20, "fit.steps": 2, "metrics.digits.steps": 2, "train.batch_size": 8}"""
TEST_OPTIONS = {"recipe": (", overrides=small, steps=2", SMALL)}


def new_plugin(name: str, kind: str = "domain", parent: str | Path = ".", *, registry: Registry | None = None) -> Path:
    """Write the package ``domtrans-NAME``, which registers a part ``NAME`` of that kind; returns its folder.

    Raises DomtransError for a name that cannot be one or that ``registry`` holds already, a kind without a template, or a
    folder that is there.
    """
    name = name.removeprefix(PREFIX)
    if kind not in USES:
        raise DomtransError(f"there is no template for the kind '{kind}'; there is one for {', '.join(USES)}")
    if not NAME.fullmatch(name) or name == "none":
        raise DomtransError(
            f"'{name}' cannot name a plugin: use small letters, digits and single hyphens, a letter first, as in my-digits"
        )
    distribution, identifier = PREFIX + name, name.replace("-", "_")
    title = "".join(word.capitalize() for word in name.split("-"))
    module, folder = f"domtrans_{identifier}", Path(parent) / (PREFIX + name)
    if folder.exists():
        raise DomtransError(f"{folder} is there already; choose another name or delete it")
    if registry is not None and name in registry.names(kind):
        owner = registry.get(kind, name).owner
        raise DomtransError(f"plugin '{owner}' has a {kind} '{name}' already; choose another name")
    if importlib.util.find_spec(module) is not None:
        raise DomtransError(f"a module {module} is installed already; choose another name")
    words = {
        "name": name,
        "kind": kind,
        "distribution": distribution,
        "module": module,
        "identifier": f"{identifier}_{kind}" if keyword.iskeyword(identifier) or identifier in TAKEN else identifier,
        "title": f"{title}{kind.capitalize()}" if title in TAKEN else title,
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
    # Filled in before anything is written: a fault leaves no half of a package behind.
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
