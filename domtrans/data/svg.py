"""Checks that an SVG document only draws: no scripts, no references to other files, nothing that moves or links."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from domtrans.errors import DomtransError

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
HARMLESS_NAMESPACES = ("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://purl.org/dc/", "http://creativecommons.org/ns#")
"""Metadata: title, author and licence. No program draws or runs them."""

ELEMENTS = (
    "svg g defs use symbol title desc metadata path rect circle ellipse line polyline polygon text tspan clipPath mask pattern "
    "marker linearGradient radialGradient stop filter feBlend feColorMatrix feComponentTransfer feComposite feFlood "
    "feFuncA feFuncB feFuncG feFuncR feGaussianBlur feMerge feMergeNode feMorphology feOffset feTile feTurbulence"
)
"""Elements that draw. Not among them: script, foreignObject, image, a, style, and animations."""


def check_svg(svg: str) -> str:
    """The document itself, if it only draws.

    Raises:
        DomtransError: If it is not SVG, or has an element or an attribute that could do more than draw.
    """
    if "<!" in re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL):
        raise _unsafe("a document type")  # entities could expand without end
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise DomtransError(f"the engine's drawing is not XML: {error}") from None
    if root.tag != f"{{{SVG_NAMESPACE}}}svg":
        raise DomtransError("the engine's drawing is not SVG: its root must be svg in the SVG namespace")
    for element in root.iter():
        _check_element(element)
    return svg


def _check_element(element: ElementTree.Element) -> None:
    namespace, _, name = element.tag.removeprefix("{").rpartition("}")
    if namespace != SVG_NAMESPACE:
        if not namespace.startswith(HARMLESS_NAMESPACES):
            raise _unsafe(f"the element '{name}' of {namespace or 'no namespace'}")
        return
    if name not in ELEMENTS.split():
        raise _unsafe(f"the element '{name}'")
    for attribute, value in element.attrib.items():
        local = attribute.rpartition("}")[2].lower()
        if local.startswith("on") or (local in ("href", "src") and not value.startswith("#")):
            raise _unsafe(f"the attribute '{local}' of '{name}'")
        # A backslash could hide url( in the escapes of CSS.
        if "\\" in value or re.search(r"(?i)url\s*\(\s*['\"]?\s*(?!['\"]?#)[^'\"\s]|@import|javascript:", value):
            raise _unsafe(f"the attribute '{local}' of '{name}', which refers to something outside the drawing")


def _unsafe(what: str) -> DomtransError:
    return DomtransError(f"the engine's drawing has {what}; a drawing may only draw, without scripts and links")


def with_size(svg: str, size: int) -> str:
    """The document with this width and height in pixels."""
    tag = re.search(r"<svg\b[^>]*>", svg)
    if tag is None:
        raise DomtransError("the engine's drawing is not SVG: it has no svg element")
    plain = re.sub(r"\s(width|height)=(\"[^\"]*\"|'[^']*')", "", tag[0])
    return f'{svg[: tag.start()]}<svg width="{size}" height="{size}"{plain.removeprefix("<svg")}{svg[tag.end() :]}'
