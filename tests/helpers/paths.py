"""Folders of the checkout, and of the real data that stands beside it on some machines."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
FIXTURES = ROOT / "tests" / "fixtures"
HELPERS = ROOT / "tests" / "helpers"
SHARED = ROOT.parent / "shared"
