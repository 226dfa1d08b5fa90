"""Distributions as strangers would install them: a module, a dist-info folder, an entry point."""

import textwrap
from pathlib import Path

GOOD = """
    import domtrans

    domtrans_interface = 1

    @domtrans.hookimpl
    def register(registry):
        registry.distance("by-{name}", distance)

    def distance(a, b):
        '''The largest difference.'''
        return (a - b).abs().max()
"""


def install(folder: Path, name: str, code: str = GOOD, *, version: str = "1.0", metadata: bool = True) -> Path:
    """Put the distribution ``domtrans-NAME`` into a folder that stands on sys.path; returns its dist-info folder."""
    module = f"neighbour_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(textwrap.dedent(code).replace("{name}", name))
    about = folder / f"domtrans_{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    if metadata:
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: domtrans-{name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(f"[domtrans]\n{name} = {module}\n")
    return about
