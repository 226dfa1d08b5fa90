"""A hook of MkDocs: files outside docs/ that pages link to become pages of the site, so that no link leads out of it.

A link to a Python file whose text is a dotted name leads to the line that defines the name.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
FOLDER = "source"
LINK = re.compile(r"\[(?P<text>[^\]\[]*)\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add a page for every file outside docs/ that is linked to, from pages or from such files."""
    from mkdocs.structure.files import File

    waiting, seen = [DOCS / page.src_uri for page in files.documentation_pages()], set[Path]()
    while waiting:
        page = waiting.pop()
        for target in set(targets(page.read_text(), page)) - seen:
            if not target.is_relative_to(DOCS):
                seen.add(target)
                files.append(File.generated(config, place(target), content=as_page(target)))
                waiting += [target] if target.suffix == ".md" else []


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where things are in the site."""
    uri = page.file.src_uri
    origin = ROOT / uri.removeprefix(f"{FOLDER}/") if uri.startswith(f"{FOLDER}/") else DOCS / uri

    def pointed(link: re.Match[str]) -> str:
        target = (origin.parent / link["path"]).resolve()
        if not target.is_file():
            return link[0]
        anchor = link["anchor"] or (f"#{line_id(link['text'], target)}" if defines(link["text"], target) else "")
        return f"[{link['text']}]({posixpath.relpath(place(target), posixpath.dirname(uri))}{anchor})"

    return LINK.sub(pointed, markdown)


def targets(markdown: str, origin: Path) -> Iterator[Path]:
    """Files that a page links to."""
    for link in LINK.finditer(markdown):
        target = (origin.parent / link["path"]).resolve()
        if target.is_file():
            yield target


def place(target: Path) -> str:
    """Where a file is in the site."""
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    return f"{FOLDER}/{target.relative_to(ROOT).as_posix()}" + ("" if target.suffix == ".md" else ".md")


def as_page(target: Path) -> str:
    """A file as Markdown, its lines numbered."""
    if target.suffix == ".md":
        return target.read_text()
    name, language = target.relative_to(ROOT).as_posix(), target.suffix.removeprefix(".")
    return f'# {name}\n\n~~~~{{.{language} linenums="1"}}\n{target.read_text()}~~~~\n'


def defines(text: str, target: Path) -> bool:
    """Whether a link's text is the dotted name of something, and its target the module that should define it."""
    return target.suffix == ".py" and re.fullmatch(r"`[A-Za-z_][\w.]*\.\w+`", text) is not None


def line_id(text: str, target: Path) -> str:
    """The anchor of the line that defines a dotted name; raises ValueError if the file does not define it."""
    *_, module = target.with_suffix("").parts
    names = text.strip("`").rpartition(f"{module}.")[2].split(".")
    node: ast.AST = ast.parse(target.read_text())
    line = 1
    for name in names:
        inside: list[Any] = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name]
        if not inside:
            raise ValueError(f"{target.relative_to(ROOT)} does not define {text}")
        node, line = inside[0], inside[0].lineno
    return f"__codelineno-0-{line}"
