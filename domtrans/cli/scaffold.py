"""``domtrans new-plugin``: write a small package that can be installed at once, with a plugin to start from."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import re
import string
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import domtrans
from domtrans.errors import DomtransError
from domtrans.registry.compatibility import INTERFACE_VERSION
from domtrans.registry.registry import Registry
from domtrans.storage.address import check_local

PREFIX = "domtrans-"
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
TRAIN = "domtrans train digits-dtn"

USES = {
    "domain": f"{TRAIN} source=NAME",
    "encoder": f"{TRAIN} encoder=NAME adapt=none",
    "fit": f"{TRAIN} fit=NAME",
    "generator": f"{TRAIN} generator=NAME",
    "discriminator": f"{TRAIN} discriminator=NAME",
    "loss": f'{TRAIN} \'generator_losses.NAME={{"name": "NAME", "weight": 1}}\'',
    "optimizer": f"{TRAIN} train.generator_optimizer=NAME",
    "distance": f"{TRAIN} generator_losses.const.distance=NAME",
    "augmentation": f"{TRAIN} view=NAME",
    "metric": f"{TRAIN} metrics.NAME=NAME",
    "detector": "domtrans transfer runs/digits-dtn photos/ digits/ --crop NAME",
    "recipe": "domtrans train NAME",
    "study": "domtrans reproduce NAME --quick",
    "tracker": f"{TRAIN} --track NAME",
}
"""Every kind of part, and a command that uses the new part."""


class Test(NamedTuple):
    """What the test of a kind needs beside the call of the check."""

    options: str = ""
    before: str = ""
    imports: str = ""


SMALL = """
    sizes = {"source.count": 40, "source.test_count": 20, "train.batch_size": 8}
    steps = {"fit.steps": 2, "metrics.digits.steps": 2}"""
A_FILE = """
    # Options follow the name. A domain that reads a file gets a small one: write it to the fixture tmp_path of pytest first,
    # and pass the option, e.g. path=str(tmp_path / "small.npz")."""
A_PHOTO = """
    photo = Image.new("RGB", (80, 60), "white")
    photo.paste("black", (20, 10, 50, 40))"""
TESTS = {
    "domain": Test(", count=40", A_FILE),
    "fit": Test(", steps=5, batch_size=8"),
    "recipe": Test(", overrides=sizes | steps, steps=2", SMALL),
    "detector": Test(", images=[photo]", A_PHOTO, "\nfrom PIL import Image"),
}


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
    check_local(parent, "the folder of a package")
    name, test = name.removeprefix(PREFIX), TESTS.get(kind, Test())
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
        raise DomtransError(f"plugin '{owner}' already has the {kind} '{name}'; choose another name")
    if importlib.util.find_spec(module) is not None:
        raise DomtransError(f"a module {module} is already installed; choose another name")
    templates = resources.files("domtrans.cli") / "templates"
    taken = _names_in((templates / f"{kind}.py.txt").read_text("utf-8"))
    words = {
        "name": name,
        "kind": kind,
        "distribution": distribution,
        "module": module,
        "identifier": f"{identifier}_{kind}" if identifier in taken else identifier,
        "title": f"{title}{kind.capitalize()}" if title in taken else title,
        "version": domtrans.__version__,
        "interface": str(INTERFACE_VERSION),
        "use": USES[kind].replace("NAME", name),
        **test._asdict(),
    }
    files = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        f"{module}.py": f"{kind}.py.txt",
        f"test_{identifier}.py": "test.py.txt",
    }
    # All files are rendered before the first is written, so that an error leaves no incomplete package.
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


def _names_in(template: str) -> set[str]:
    """The names that the code of a template uses, and Python's keywords: the part cannot have one of them."""
    tree = ast.parse(string.Template(template).safe_substitute(identifier="_part", title="_Part", interface="1"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    return used | imported | {"register", *keyword.kwlist}
