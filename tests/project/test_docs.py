"""The documentation holds together: commands and snippets are of this version, and the site is whole."""

import ast
import functools
import http.server
import importlib
import os
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

import domtrans
import package_map
from domtrans import find_recipe, load_plugins, override, testing
from domtrans.cli.commands import app
from pages import FENCED, PAGES, blocks
from paths import DOCS, ROOT

STAND_INS = {"domain": "mnist-5k", "loss": "total-variation"}
"""For parts that a page's snippets register, where the first of the kind would need options."""
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:domtrans|torchrun|srun) [^`]+)`")
REGISTERED = re.compile(r'registry\.(\w+)\("([\w-]+)"')
WIDTH = 100
"""Columns of prose in Markdown; tables, code and a single long link may be wider."""
RUN_BY_A_TEST = "tutorial-domain.md"
"""Its recipes name parts that the reader writes on the way; test_installed.py does all of it."""


def commands(page):
    """Every domtrans command line of a page, in words: those of code blocks, and those within sentences."""
    prose = FENCED.sub("", page.read_text())
    lines = "\n".join(blocks(page, "sh", "")).replace("\\\n", " ").splitlines()
    lines += INDENTED.findall(prose.replace("\\\n", " ")) + [re.sub(r"\s+", " ", line) for line in INLINE.findall(prose)]
    return list(in_words(lines))


def in_words(lines):
    """The words after ``domtrans`` of every such command in some lines, as the shell hands them over."""
    for command in (part for line in lines for part in re.split(r" (?:\|\|?|&&|;) ", line) if "domtrans" in part):
        words = shlex.split(command, comments=True)
        words = words[next((place for place, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), 0) :]
        end = next((place for place, word in enumerate(words) if word in (">", "...")), len(words))
        if words[:1] in (["torchrun"], ["srun"]) and "domtrans" in words:
            yield words[words.index("domtrans") + 1 : end]
        elif words[:1] == ["domtrans"]:
            yield words[1:end]


def parsed(words):
    """The options that the command line reads off some words; raises click's UsageError for what it would refuse.

    A word in capitals stands for what the reader puts there.
    """
    group = get_command(app)
    if words[0].startswith("-"):
        assert words[0] in {"--help", *(name for parameter in group.params for name in parameter.opts)}
        return {}
    assert words[0] in group.commands, f"there is no command {words[0]}"
    if len(words) == 1 or "--help" in words:
        return {}
    return group.commands[words[0]].make_context(words[0], ["1" if word.isupper() else word for word in words[1:]]).params


@functools.cache
def shipped():
    """What is installed."""
    return load_plugins(only=()).registry


def registry_of(page):
    """What is installed, and for each part that the page's own snippets register, another that can stand in for it."""
    written = [(kind, name) for kind, name in REGISTERED.findall(page.read_text()) if name not in shipped().names(kind)]
    if not written:
        return shipped()
    registry = load_plugins(only=()).registry
    for kind, name in written:
        getattr(registry, kind)(name, registry.get(kind, STAND_INS.get(kind, registry.names(kind)[0])).factory)
    return registry


@by_page
def test_every_command_of_a_page_is_one(page):
    registry = registry_of(page)
    for words in commands(page):
        found = parsed(words)
        if words[0] in ("train", "show", "evaluate", "reproduce") and page.name != RUN_BY_A_TEST:
            changes = [*(found.get("changes") or []), *(found.get("allow_changes") or [])]
            changes = [change for change in changes if "=" in change and "..." not in change]
            named = Path(str(found.get("recipe") or found.get("run") or "digits-dtn"))
            base = named.name if named.name in registry.names("recipe") else "digits-dtn"
            assert words[0] != "train" or base == named.name or named.suffix or words[1].isupper(), f"no recipe {named}"
            override(find_recipe(base, registry), changes, registry)


@pytest.mark.parametrize("name", get_command(app).commands)
def test_every_command_has_examples_that_are_ones(name):
    examples = get_command(app).commands[name].help.partition("Examples:")[2].splitlines()
    found = list(in_words(examples))
    assert found and all(words[0] == name and parsed(words) is not None for words in found)


def test_a_command_that_is_none_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    block = "```sh\nNO_COLOR=1 domtrans train digits-dtn \\\n    --no-such-option\n```"
    page.write_text(f"{block}\n\n    domtrans trane x\n\n`domtrans plugins`\n")
    wrong, misspelt, right = commands(page)
    for words in (wrong, misspelt):
        with pytest.raises(Exception, match=r"no-such-option|no command"):
            parsed(words)
    assert parsed([*right, "--json"]) == {"as_json": True, "verbose": False}


@by_page
def test_every_snippet_of_a_page_compiles_and_takes_what_is_there(page):
    for code in blocks(page, "toml"):
        tomllib.loads(code)
    for code in blocks(page, "python"):
        tree = ast.parse(code)
        names = [a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "domtrans" for a in n.names]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "domtrans":
                names.append(node.attr)
        assert not [name for name in names if not hasattr(domtrans, name) and name != "testing"]


@by_page
def test_prose_wraps_at_100_columns(page):
    if page.match("docs/results/*/table*.md") or page.match("docs/results/benchmarks.md"):
        return  # written by a command
    text = FENCED.sub("", page.read_text())
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    ", "![", "<"))]
    assert not [line for line in prose if len(line) > WIDTH and " " in line.strip().removeprefix("- ")]


def test_the_parts_of_the_how_to_keep_their_contracts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    checks = {"Brightness": testing.check_loss, "SignDescent": testing.check_optimizer, "Colours": testing.check_encoder}
    checks |= {"Plain": testing.check_generator, "ink": testing.check_metric}
    for code, (name, check) in zip(blocks(DOCS / "how-to" / "parts.md", "python"), checks.items(), strict=True):
        (tmp_path / f"of_the_how_to_{name}.py").write_text(code)
        check(getattr(importlib.import_module(f"of_the_how_to_{name}"), name))


@pytest.mark.parametrize(("page", "at_least"), [("equations.md", 20), ("design.md", 12)])
def test_names_that_link_to_code_exist(page, at_least):
    named = re.findall(r"\[`([\w.]+)`\]\(\.\./([^)]+\.py)\)", (DOCS / page).read_text())
    assert len(named) >= at_least
    for name, path in named:
        module = Path(path).relative_to("plugins") if path.startswith("plugins/") else Path(path)
        module = ".".join(module.with_suffix("").parts)
        assert functools.reduce(getattr, name.removeprefix(f"{module}.").split("."), importlib.import_module(module))


def test_the_map_of_the_packages_is_that_of_the_code():
    assert package_map.mermaid() in package_map.PAGE.read_text(), "run `python docs/package_map.py`"
    assert package_map.imports().keys() == package_map.PLACES.keys(), "give every package its place in docs/package_map.py"
    packages = set(re.findall(r"^\|[^|]*\| `(\w+)` \|", package_map.PAGE.read_text(), re.MULTILINE))
    assert packages == package_map.PLACES.keys(), "the table of packages in docs/design.md"


def test_the_picture_of_the_readme_loads_fast():
    assert (DOCS / "images" / "strip.png").stat().st_size < 400_000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors: a link or an anchor that leads nowhere, a page that is in no menu."""
    pytest.importorskip("material", reason="mkdocs-material, which builds the site, is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]  # --quiet would disable strict
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr + done.stdout
    return out


def test_links_out_of_the_documentation_stay_in_the_site_and_find_their_line(site):
    page = (site / "equations.html").read_text()
    (anchor,) = set(
        re.findall(r'href="source/domtrans/training/trainer\.py\.html#([^"]+)"><code>[\w.]+\.train_generator<', page)
    )
    source = (site / "source" / "domtrans" / "training" / "trainer.py.html").read_text()
    line = next(line for line in source.splitlines() if f'id="{anchor}"' in line)
    assert "train_generator" in line
    assert (site / "source" / "SECURITY.html").is_file()


def test_the_site_draws_the_map_of_the_packages_itself(site):
    page = (site / "design.html").read_text()
    assert page.count("<rect ") == len(package_map.PLACES) and "flowchart" not in page


@pytest.fixture(scope="module")
def address(site):
    """The site, served as `mkdocs serve` does."""
    handler = functools.partial(QuietHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_the_site_shows_what_it_should_and_asks_no_one_for_anything(address, visit):
    page = visit(address, color_scheme="dark", viewport={"width": 390, "height": 844})
    for name in ("index", "equations", "recipes/digits-dtn", "tutorials/tuning", "tutorials/notebook"):
        page.goto(f"{address}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, f"{name} is wider than a phone"
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth)"), f"{name} lacks an image"
    assert page.evaluate("document.body.dataset.mdColorScheme") == "slate", "dark where the reader's system is"
    page.keyboard.press("/")
    page.keyboard.type("ternary")
    page.locator(".md-search-result__item").first.wait_for()
