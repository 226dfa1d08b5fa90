"""A hook of MkDocs: files outside docs/ that pages link to become pages of the site.

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
LINE_ANCHOR = re.compile(r'id="(__codelineno-[\d-]+)"')


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add a page for every file outside docs/ that a page links to, directly or through such a file."""
    from mkdocs.structure.files import File

    queue, added = [DOCS / page.src_uri for page in files.documentation_pages()], set[Path]()
    while queue:
        page = queue.pop()
        for target in set(targets(page.read_text(), page)) - added:
            if not target.is_relative_to(DOCS):
                added.add(target)
                files.append(File.generated(config, site_path(target), content=as_page(target)))
                queue += [target] if target.suffix == ".md" else []


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the paths of links by paths in the site."""
    uri = page.file.src_uri
    origin = ROOT / uri.removeprefix(f"{FOLDER}/") if uri.startswith(f"{FOLDER}/") else DOCS / uri

    def replaced(link: re.Match[str]) -> str:
        target = (origin.parent / link["path"]).resolve()
        if not target.is_file():
            return link[0]
        anchor = link["anchor"] or (f"#{line_id(link['text'], target)}" if defines(link["text"], target) else "")
        return f"[{link['text']}]({posixpath.relpath(site_path(target), posixpath.dirname(uri))}{anchor})"

    return LINK.sub(replaced, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Tell MkDocs the anchors of source lines, which it does not find by itself, so that it can check links to them."""
    if page.present_anchor_ids is not None and page.file.src_uri.startswith(f"{FOLDER}/"):
        page.present_anchor_ids |= set(LINE_ANCHOR.findall(html))


def targets(markdown: str, origin: Path) -> Iterator[Path]:
    """Yield the files that a page links to."""
    for link in LINK.finditer(markdown):
        target = (origin.parent / link["path"]).resolve()
        if target.is_file():
            yield target


def site_path(target: Path) -> str:
    """Return the path of a file in the site."""
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    return f"{FOLDER}/{target.relative_to(ROOT).as_posix()}" + ("" if target.suffix == ".md" else ".md")


def as_page(target: Path) -> str:
    """Return a file as Markdown, with line numbers."""
    if target.suffix == ".md":
        return target.read_text()
    name, language = target.relative_to(ROOT).as_posix(), target.suffix.removeprefix(".")
    return f'# {name}\n\n~~~~{{.{language} linenums="1"}}\n{target.read_text()}~~~~\n'


def defines(text: str, target: Path) -> bool:
    """Return whether a link's text is a dotted name in the Python file that is its target, and not the file's own name."""
    is_dotted = re.fullmatch(r"`[A-Za-z_][\w.]*\.\w+`", text) is not None
    return target.suffix == ".py" and is_dotted and text.strip("`") != target.name


def line_id(text: str, target: Path) -> str:
    """Return the anchor of the line that defines a dotted name. Raises ValueError if the file does not define it."""
    *_, module = target.with_suffix("").parts
    names = text.strip("`").rpartition(f"{module}.")[2].split(".")
    node: ast.AST = ast.parse(target.read_text())
    line = 1
    for name in names:
        definitions: list[Any] = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name]
        if not definitions:
            raise ValueError(f"{target.relative_to(ROOT)} does not define {text}")
        node, line = definitions[0], definitions[0].lineno
    return f"__codelineno-0-{line}"
