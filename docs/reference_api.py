"""The Python API in Markdown, read from source and docstrings: signatures, arguments, fields and members."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from domtrans.registry.docstrings import Docstring, parse_docstring

PAGES = {
    "api-runs.md": ("Train and use runs", ("training", "runs", "pretrained", "inference", "sharing", "reporting", "benchmark")),
    "api-recipes.md": ("Recipes and studies", ("recipe", "studies")),
    "api-data.md": ("Data", ("data",)),
    "api-parts.md": ("Parts and plugins", ("interfaces", "model", "registry", "optional")),
    "api-evaluation.md": ("Evaluation", ("evaluation",)),
    "api-sessions.md": ("Sessions and errors", ("session", "schedules", "progress", "compute", "storage", "errors")),
}
"""Pages of the Python API: the file, its title, and the modules and packages of domtrans whose names it has."""


OWN_MODULES = "domtrans"


@dataclass(frozen=True)
class PublicName:
    """One name that ``module`` exports, and the module and name of its definition."""

    module: str
    name: str
    source: str
    original: str

    @property
    def package(self) -> str:
        """The package or module of domtrans that defines it."""
        return self.source.split(".")[1]

    @property
    def value(self) -> Any:
        """The object."""
        return getattr(importlib.import_module(self.source), self.original)

    @property
    def old_name_of(self) -> str:
        """The present name of a class or function that this name is an alias of; empty if it is none."""
        present = self.value.__name__ if inspect.isclass(self.value) or inspect.isfunction(self.value) else self.name
        return "" if present == self.name else present


def public_names(module: str, stub: str) -> list[PublicName]:
    """Return the names that a file of lines ``from x import y as y`` exports for a module, in order."""
    names = []
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom):
            source = f"{module}.{node.module}" if node.level else str(node.module)
            names += [PublicName(module, item.asname or item.name, source, item.name) for item in node.names]
    return names


def names_by_page(names: list[PublicName]) -> dict[str, list[PublicName]]:
    """Return the names of each page: in the order of its packages, functions before classes."""
    pages: dict[str, list[PublicName]] = {}
    for page, (_, packages) in PAGES.items():
        here = [name for name in names if name.package in packages]
        pages[page] = sorted(here, key=lambda name: (packages.index(name.package), not inspect.isroutine(name.value)))
    return pages


def page_of_name(name: PublicName) -> str:
    """Return the file of the page that a name of ``domtrans`` is on."""
    return next(page for page, (_, packages) in PAGES.items() if name.package in packages)


def summary_of(name: PublicName) -> str:
    """Return one line about a public name."""
    if name.old_name_of:
        return f"The old name of `{name.old_name_of}`."
    return markdown(docstring_of(name.source, definition(name.source, name.original)).summary)


def undocumented_names(names: list[PublicName]) -> list[str]:
    """Return the names and members without a docstring, and the arguments that a docstring with ``Args:`` leaves out."""
    gaps = []
    for name in names:
        label, node = f"{name.module}.{name.name}", definition(name.source, name.original)
        if not name.old_name_of and not docstring_of(name.source, node).summary:
            gaps.append(label)
        if isinstance(node, ast.FunctionDef):
            gaps += undocumented_arguments(label, node)
        if isinstance(node, ast.ClassDef):
            for member in members(name.value):
                gaps += [] if ast.get_docstring(member) else [f"{label}.{member.name}"]
                gaps += undocumented_arguments(f"{label}.{member.name}", member)
    return gaps


def undocumented_arguments(label: str, node: ast.FunctionDef) -> list[str]:
    """Return the arguments of a function that its ``Args:`` leave out, if it has such a section."""
    documented = parse_docstring(ast.get_docstring(node) or "").arguments
    named = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs) if argument.arg not in ("self", "cls")]
    return [f"argument {argument} of {label}" for argument in named if documented and argument not in documented]


def entry(name: PublicName) -> Iterator[str]:
    """Yield the lines about one public name."""
    node = definition(name.source, name.original)
    yield f"### {name.name}"
    yield ""
    if name.old_name_of:
        yield summary_of(name)
        yield ""
    elif isinstance(node, ast.FunctionDef):
        yield from function_lines(f"{name.module}.{name.name}", node)
    elif isinstance(node, ast.ClassDef):
        yield from class_lines(name, node)
    else:
        yield from docstring_lines(docstring_of(name.source, node))


def function_lines(label: str, node: ast.FunctionDef) -> Iterator[str]:
    """Yield a function's signature and docstring."""
    yield from code(signature(label, node))
    yield from docstring_lines(parse_docstring(ast.get_docstring(node) or ""))


def class_lines(name: PublicName, node: ast.ClassDef) -> Iterator[str]:
    """Yield a class: how it is made, its docstring, its fields and its members."""
    label = f"{name.module}.{name.name}"
    constructor = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield from code(signature(label, constructor) if constructor else f"class {label}({bases})" if bases else f"class {label}")
    docstring = parse_docstring(ast.get_docstring(node) or "")
    rows = list(fields(name.value, docstring))
    yield from docstring_lines(docstring, arguments=not rows)
    if rows:
        yield "| field | type | default | |"
        yield "|---|---|---|---|"
        for row in rows:
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        yield ""
    for member in members(name.value):
        yield f"#### {name.name}.{member.name}"
        yield ""
        kind = inspect.getattr_static(name.value, member.name)
        if inspect.isfunction(kind):
            yield from function_lines(f"{name.name.lower()}.{member.name}", member)
        elif isinstance(kind, classmethod | staticmethod):
            yield from function_lines(f"{name.name}.{member.name}", member)
        else:  # a property, or a descriptor that acts as one
            yield from code(f"{name.name}.{member.name}: {ast.unparse(member.returns) if member.returns else 'Any'}")
            yield from docstring_lines(parse_docstring(ast.get_docstring(member) or ""))


def fields(cls: type, docstring: Docstring) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and help of the fields that a class declares in its body."""
    rows = {}
    for node in reversed([*own_classes(cls)]):
        for item, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not item.target.id.startswith("_"):
                field = item.target.id
                default = f"`{default_of(item.value)}`" if item.value else ""
                text = markdown(literal(following) or docstring.help_of(field))
                rows[field] = (f"`{field}`", f"`{ast.unparse(item.annotation)}`", default, text)
    yield from rows.values()


def default_of(value: ast.expr) -> str:
    """Return the default of a field as source code, out of ``field(...)`` if the class is a dataclass."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "field":
        for keyword in value.keywords:
            if keyword.arg in ("default", "default_factory"):
                return ast.unparse(keyword.value) + ("()" if keyword.arg == "default_factory" else "")
    return ast.unparse(value)


def members(cls: type) -> list[ast.FunctionDef]:
    """Return the public methods and properties of a class, with those of bases that are not public themselves."""
    found = {}
    for node in reversed([*own_classes(cls)]):
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and (not item.name.startswith("_") or item.name == "__call__"):
                found[item.name] = item
    return list(found.values())


def own_classes(cls: type) -> Iterator[ast.ClassDef]:
    """Yield the definitions of a class and its bases inside domtrans, as far as the next base that is public itself."""
    import domtrans

    for base in cls.__mro__:
        public = base is not cls and getattr(domtrans, base.__name__, None) is base
        if public or not base.__module__.startswith(OWN_MODULES):
            continue
        node = definition(base.__module__, base.__name__)
        if isinstance(node, ast.ClassDef):
            yield node


@functools.cache
def module_tree(module: str) -> ast.Module:
    """Parse the source of a module."""
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def definition(module: str, name: str) -> ast.stmt:
    """Return the statement that defines a name in a module.

    Raises:
        KeyError: If the module does not define it.
    """
    for node in module_tree(module).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if getattr(node, "name", None) == name or name in names:
            return node
    raise KeyError(f"{module}.{name}")


def docstring_of(module: str, node: ast.stmt) -> Docstring:
    """Return the docstring of a class or function, or the string literal after an assignment."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return parse_docstring(ast.get_docstring(node) or "")
    body = module_tree(module).body
    return parse_docstring(inspect.cleandoc(literal(([*body, None])[body.index(node) + 1])))


def literal(node: ast.stmt | None) -> str:
    """Return the text of a statement that is a string literal; empty for any other."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def signature(label: str, node: ast.FunctionDef) -> str:
    """Return a signature as source code, with a line for each parameter if it is long."""
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    defaults += args.defaults
    words = []
    for argument, default in zip(positional, defaults, strict=True):
        if argument.arg not in ("self", "cls"):
            words.append(parameter(argument, default))
        if args.posonlyargs and argument is args.posonlyargs[-1]:
            words.append("/")
    if args.vararg:
        words.append(f"*{parameter(args.vararg, None)}")
    elif args.kwonlyargs:
        words.append("*")
    words += [parameter(argument, default) for argument, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    words += [f"**{parameter(args.kwarg, None)}"] if args.kwarg else []
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    line = f"{label}({', '.join(words)}){returns}"
    return line if len(line) <= 88 else f"{label}(\n" + "".join(f"    {word},\n" for word in words) + f"){returns}"


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """Return one parameter of a signature."""
    annotation = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    equals = " = " if annotation else "="
    return f"{argument.arg}{annotation}" + (f"{equals}{ast.unparse(default)}" if default is not None else "")


def docstring_lines(docstring: Docstring, *, arguments: bool = True) -> Iterator[str]:
    """Yield a docstring as Markdown."""
    yield markdown(docstring.summary)
    yield ""
    yield from text_lines(docstring.text)
    if arguments and docstring.arguments:
        yield "Arguments:"
        yield ""
        yield from (f"- `{name}`: {markdown(text)}." for name, text in docstring.arguments.items())
        yield ""
    if docstring.returns:
        yield "Returns:"
        yield ""
        yield from text_lines(docstring.returns)
    if docstring.raises:
        yield "Raises:"
        yield ""
        yield from (f"- `{name}`: {markdown(text)}" for name, text in docstring.raises)
        yield ""


def text_lines(text: str) -> Iterator[str]:
    """Yield paragraphs as Markdown: prose in one line, indented paragraphs as one block of code, lists as they are."""
    paragraphs = filter(None, re.split(r"\n\s*\n", text))
    for indented, group in itertools.groupby(paragraphs, key=lambda paragraph: paragraph.startswith("    ")):
        if indented:
            yield from code(textwrap.dedent("\n\n".join(group)))
            continue
        for paragraph in group:
            if re.match(r"[-*] ", paragraph):
                yield from (markdown(item) for item in re.split(r"\n(?=[-*] )", paragraph))
            else:
                yield markdown(paragraph)
            yield ""


def code(source: str) -> Iterator[str]:
    """Yield a block of Python code."""
    yield "```python"
    yield from source.splitlines()
    yield "```"
    yield ""


def markdown(text: str) -> str:
    """Return docstring text as one line of Markdown."""
    return re.sub(r"::$", ":", " ".join(text.replace("``", "`").split()))
