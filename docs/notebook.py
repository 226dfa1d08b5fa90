"""The notebook of the tutorials: ``python docs/notebook.py`` runs it again, and the site shows it as a page.

Edit the cells in Jupyter or in the file. The command needs the extra "docs"; the site needs nothing but the file.
"""

from __future__ import annotations

import html
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
NOTEBOOK = DOCS / "tutorials" / "notebook.ipynb"
SHOWN = ("text/html", "image/png", "text/plain")
"""Forms of an output, the best first."""


def main() -> None:
    """Run every cell in an empty folder and write the outputs into the notebook."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=3600, record_timing=False, resources={"metadata": {"path": folder}}).execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = best_forms(output.data)
                output.metadata = {}
                output.pop("transient", None)
    nbformat.write(notebook, NOTEBOOK)


def best_forms(data: dict[str, Any]) -> dict[str, Any]:
    """An output in its best form, with the text for viewers that show nothing else."""
    best = next(form for form in SHOWN if form in data)
    return {form: data[form] for form in dict.fromkeys((best, "text/plain")) if form in data}


def on_files(files: Files, config: MkDocsConfig) -> None:
    """A hook of MkDocs: put a page in place of the notebook."""
    from mkdocs.structure.files import File

    notebook = files.get_file_from_path(NOTEBOOK.relative_to(DOCS).as_posix())
    if notebook is not None:
        files.remove(notebook)
    page = NOTEBOOK.with_suffix(".md").relative_to(DOCS).as_posix()
    files.append(File.generated(config, page, content="\n\n".join(as_markdown(json.loads(NOTEBOOK.read_text())))))


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to the notebook, which GitHub shows, lead to its page."""
    return markdown.replace(f"{NOTEBOOK.name})", f"{NOTEBOOK.stem}.md)")


def as_markdown(notebook: dict[str, Any]) -> Iterator[str]:
    """The cells as Markdown, each with its outputs as HTML."""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        for output in cell.get("outputs", ()):
            yield f'<div class="output" markdown="0">{as_html(output)}</div>'


def as_html(output: dict[str, Any]) -> str:
    """An output as one line of HTML; Markdown would take an empty line within it for the end of it."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    form = next(form for form in SHOWN if form in data)
    content = "".join(data[form])
    if form == "image/png":
        return f'<img alt="output" src="data:image/png;base64,{content.strip()}">'
    if form == "text/plain":
        content = f'<pre style="overflow-x:auto">{html.escape(content)}</pre>'
    return content.strip().replace("\n", "&#10;")


if __name__ == "__main__":
    main()
