"""Docstrings split into their parts: Google style, and the older form in which prose explains an option as ``name``: text."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from docstring_parser import DocstringParam, ParseError, google

SECTION = re.compile(r"(Args|Arguments|Attributes|Returns|Yields|Raises):[ \t]*\n[ \t]")


@dataclass(frozen=True)
class Docstring:
    """The parts of one docstring."""

    summary: str = ""
    """The first line."""
    text: str = ""
    """The paragraphs between the summary and the first section."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    returns: str = ""
    raises: tuple[tuple[str, str], ...] = ()
    """Name and condition of each exception."""

    @property
    def licence(self) -> str:
        """The paragraph that begins with "Licence:", about data, drawings or weights; empty if there is none."""
        match = re.search(r"^Licence:(.*?)(?:\n\s*\n|\Z)", self.text, re.MULTILINE | re.DOTALL)
        return _one_line(match[1]) if match else ""

    def help_of(self, name: str) -> str:
        """What the docstring says about an argument or a key of what is returned; empty if it says nothing."""
        return self.arguments.get(name) or _help_in_prose(name, f"{self.summary}\n\n{self.text}\n\n{self.returns}")


@functools.cache
def parse_docstring(docstring: str) -> Docstring:
    """Split a docstring, without its indentation, into its parts."""
    blocks = re.split(r"\n\s*\n(?=\S)", docstring.strip())
    sections = [block for block in blocks if SECTION.match(block)]
    try:
        parsed = google.parse("\n" + "\n\n".join(sections))  # it takes the indentation from the second line on
    except ParseError:  # a plugin may write anything; then it is prose
        parsed, sections = google.parse(""), []
    summary, _, text = "\n\n".join(block for block in blocks if block not in sections).partition("\n")
    arguments = {
        name.strip().lstrip("*").strip("`"): _one_line(item.description or "").rstrip(".")
        for item in parsed.meta
        if isinstance(item, DocstringParam)
        for name in item.arg_name.split(",")
    }
    returns = ""
    if parsed.returns:  # the parser takes what stands before a colon for a type
        returns = ": ".join(filter(None, (parsed.returns.type_name, parsed.returns.description)))
    raises = tuple((item.type_name or "", _one_line(item.description or "")) for item in parsed.raises)
    return Docstring(summary, text.strip("\n"), arguments, returns, raises)


NAMES = re.compile(r"(?:^\s*(?:[-*] )?|(?<=[.;,])\s+)((?:``[\w{}]+``(?:,\s+|\s+and\s+)?)+):\s", re.MULTILINE)
"""The names before a text about them, e.g. "``a``, ``b``: ", at the beginning of a line or clause."""


def _help_in_prose(name: str, prose: str) -> str:
    """Return the text after ``"``name``:"``, else the sentence that mentions the name.

    Several names may share a text: ``"``a``, ``b``: text"``. It ends where the next begins, at "Raises", or with the paragraph.
    """
    for paragraph in re.split(r"\n\s*\n", prose):
        marks = list(NAMES.finditer(paragraph))
        for position, mark in enumerate(marks):
            if f"``{name}``" in mark[1]:
                end = marks[position + 1].start() if position + 1 < len(marks) else None
                text = _one_line(paragraph[mark.end() : end]).partition(" Raises ")[0]
                return text.strip().rstrip(";,.")
        for sentence in re.split(r"(?<=[.;]) ", _one_line(paragraph)):
            if f"``{name}``" in sentence:
                return sentence.strip().rstrip(";.").replace("``", "")
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
