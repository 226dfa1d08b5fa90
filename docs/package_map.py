"""The picture of the packages in design.md: ``python docs/package_map.py`` writes it from the imports of the engine.

The page holds Mermaid source, which GitHub draws. The site must not load a library from anywhere, so this hook of MkDocs
puts an SVG in its place.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ENGINE = DOCS.parent / "domtrans"
PAGE = DOCS / "design.md"
BLOCK = re.compile(r"^```mermaid\n.*?^```$", re.DOTALL | re.MULTILINE)

PLACES = {
    "cli": (3, 0),
    "testing": (0, 1),
    "studies": (0.5, 2),
    "benchmark": (1.5, 2),
    "training": (1, 3),
    "reporting": (1, 4),
    "nn": (0, 4),
    "demo": (2, 4),
    "inference": (3, 4),
    "sharing": (4, 4),
    "inspection": (5, 4),
    "runs": (2, 5),
    "evaluation": (2, 6),
    "progress": (1, 6),
    "session": (1, 7),
    "model": (2, 7),
    "interfaces": (2, 8),
    "recipe": (3, 8),
    "data": (1, 9),
    "compute": (1, 10),
    "registry": (2, 10),
    "pretrained": (3, 10),
    "storage": (2, 11),
}
"""Column and row of every package. Those that import nothing but errors from the engine, or only start it, are left out."""

OMITTED = {"errors", "optional", "schedules", "__init__", "__main__"}
BOX = (108, 30)
CELL = (130, 56)
"""Pixels: width and height of a box, and of the grid."""


def imports() -> dict[str, set[str]]:
    """What every package, or module beside them, imports from the engine, inside functions too."""
    found: dict[str, set[str]] = {}
    for path in sorted(ENGINE.rglob("*.py")):
        package = path.relative_to(ENGINE).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("domtrans"):
                names = [node.module] if node.module != "domtrans" else [f"domtrans.{alias.name}" for alias in node.names]
                found.setdefault(package, set()).update(name.split(".")[1] for name in names if name)
    packages = found.keys() - OMITTED
    return {package: (found[package] & packages) - {package} for package in packages}


def reduced(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The edges of an acyclic graph without those that a longer path implies, in the order of PLACES."""

    def reachable(node: str) -> set[str]:
        return set[str]().union(*({other} | reachable(other) for other in graph[node]))

    order = list(PLACES)
    edges = [
        (node, other)
        for node, others in graph.items()
        for other in others
        if not any(other in reachable(between) for between in others - {other})
    ]
    return sorted(edges, key=lambda edge: (order.index(edge[0]), order.index(edge[1])))


def mermaid() -> str:
    """The picture as a fenced block for the page."""
    lines = [f"    {package} --> {other}" for package, other in reduced(imports())]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


def svg() -> str:
    """The picture as one line of SVG, in the page's own colours."""
    (width, height), (across, down) = BOX, CELL
    parts = []
    for package, other in reduced(imports()):
        (x, y), (u, v) = PLACES[package], PLACES[other]
        x, y, u, v = x * across + across / 2, y * down + height + 4, u * across + across / 2, v * down - 2
        bend = min(down, v - y) / 2
        parts.append(f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {u:g} {v - bend:g} {u:g} {v:g}" marker-end="url(#imports)"/>')
    for package, (x, y) in PLACES.items():
        left, top = x * across + (across - width) / 2, y * down + 4
        module = ' stroke-dasharray="4 3"' if (ENGINE / f"{package}.py").is_file() else ""
        parts.append(f'<rect x="{left:g}" y="{top:g}" width="{width}" height="{height}" rx="6"{module}/>')
        parts.append(
            f'<text x="{left + width / 2:g}" y="{top + 20:g}" text-anchor="middle" fill="currentColor" stroke="none">'
            f"{package}</text>"
        )
    right, bottom = (1 + max(place[axis] for place in PLACES.values()) for axis in (0, 1))
    arrow = '<marker id="imports" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    arrow += '<path d="M0 0L8 4L0 8z" fill="currentColor" stroke="none"/></marker>'
    return (
        f'<figure><svg viewBox="0 0 {right * across:g} {bottom * down:g}" style="max-width:{right * across:g}px;width:100%" '
        f'role="img" aria-label="Packages and their imports" fill="none" stroke="currentColor" font-size="14">'
        f"<defs>{arrow}</defs>{''.join(parts)}</svg></figure>"
    )


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Draw the picture where the page has its source."""
    return BLOCK.sub(lambda _: svg(), markdown) if page.file.src_uri == PAGE.name else markdown


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: mermaid(), PAGE.read_text()))
