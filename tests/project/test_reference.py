"""Docs against the code: nothing that is registered, and nothing that a program or a plugin may use, is undocumented."""

import re
import types

import domtrans
import reference_api
from domtrans import load_plugins, testing
from domtrans.registry.registry import KINDS
from domtrans.testing.contracts import page_of
from paths import DOCS, ROOT
from reference import API, FOLDER, TESTING_API, commands, reference, undocumented


def registry():
    return load_plugins(only=()).registry


def page(name):
    return (FOLDER / name).read_text()


def test_the_reference_is_up_to_date():
    expected = reference(registry())
    assert {file.name for file in FOLDER.iterdir()} == set(expected), "run `python docs/reference.py`"
    for name, text in expected.items():
        assert page(name) == text, f"{name} is out of date: run `python docs/reference.py`"


def test_nothing_is_undocumented():
    assert not undocumented(registry())


def test_an_undocumented_part_or_option_would_be_found():
    def silent(a, b, *, power: float = 1.0):
        return a

    class Plugin:
        @domtrans.hookimpl
        def register(self, registry):
            registry.distance("silent", silent)

    assert undocumented(load_plugins(Plugin(), only=()).registry) == ["distance silent", "option power of distance silent"]


def test_an_undocumented_kind_would_be_found(monkeypatch):
    monkeypatch.setattr(domtrans.Registry.metric, "__doc__", None)
    assert undocumented(registry()) == ["kind metric"]


def test_an_undocumented_name_member_or_argument_would_be_found(tmp_path, monkeypatch):
    (tmp_path / "undescribed.py").write_text(
        "value = 3\n"
        'class Thing:\n    """A thing."""\n    def act(self): ...\n    def _hide(self): ...\n'
        'def run(fast, slow):\n    """Run.\n\n    Args:\n        fast: Quickly.\n    """\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [reference_api.PublicName("shown", name, "undescribed", name) for name in ("value", "Thing", "run")]
    monkeypatch.setattr(reference_api, "OWN_MODULES", "undescribed")
    assert reference_api.undocumented_names(names) == ["shown.value", "shown.Thing.act", "argument slow of shown.run"]


def test_every_public_name_is_on_a_page_of_the_api():
    overview = page("api.md")
    assert {name.name for name in API} == set(dir(domtrans)) - {"__version__"}
    for name in API:
        (target,) = re.findall(rf"^- \[`{name.name}`\]\(([\w-]+\.md)#", overview, re.MULTILINE)
        assert f"\n### {name.name}\n" in page(target)
    assert all(f"\n### {name.name}\n" in page("testing.md") for name in TESTING_API)


def test_a_signature_is_shown_as_it_is_written():
    assert "domtrans.use(name: str, **options: Any) -> Part" in page("api-recipes.md")
    assert "domtrans.Cache(folder: Path | None = None)" in page("api-sessions.md")


def test_every_kind_and_every_shipped_name_is_in_the_reference_and_every_kind_in_the_design():
    design = (DOCS / "design.md").read_text()
    for kind in KINDS.values():
        text = page(f"{kind.plural}.md")
        assert f"[{kind.name}]({kind.plural}.md)" in page("index.md")
        assert [name for name in registry().names(kind.name) if f"\n## `{name}`\n" not in text] == []
        assert re.search(rf"\b{kind.name}s?\b", design, re.IGNORECASE), kind.name


def test_every_contract_can_be_looked_up():
    for contract in testing.CONTRACTS:
        assert f'<a id="{contract}">' in (ROOT / page_of(contract)).read_text()


def test_the_help_of_every_command_is_on_one_page_as_the_terminal_shows_it(capsys, monkeypatch):
    text = page("cli.md")
    assert [name for name, _ in commands() if f"\n## domtrans {name}\n" not in text] == []
    assert "-h, --help" in text and "\x1b" not in text and max(map(len, text.splitlines())) < 128


def test_every_check_is_documented():
    checks = [value for name, value in vars(testing).items() if name.startswith("check_")]
    assert len(checks) == len([*KINDS, "drawing engine"])
    assert all(isinstance(check, types.FunctionType) and check.__doc__ for check in checks)


def test_links_between_pages_lead_somewhere():
    for file in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text()):
            if "://" not in target:
                assert (file.parent / target).exists(), f"{file.name} links to {target}, which does not exist"
