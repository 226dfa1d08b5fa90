"""The pages of the documentation, and the code in them."""

import re
from pathlib import Path

from paths import DOCS, ROOT

PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "reference"]
PAGES += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]

FENCED = re.compile(r"^(?:```|~~~)(\w*)\n(.*?)^(?:```|~~~)$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced code of a page in some languages."""
    return [code for language, code in FENCED.findall(page.read_text()) if language in languages]
