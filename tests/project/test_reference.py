"""Docs against the code: nothing that is registered, and nothing that a plugin may use, goes undocumented."""

import re
import types

import domtrans
from domtrans import load_plugins, testing
from domtrans.registry.registry import KINDS
from paths import DOCS
from reference import reference, undocumented


def registry():
    return load_plugins(only=()).registry


def test_the_reference_is_up_to_date():
    wanted = reference(registry())
    assert (DOCS / "reference.md").read_text() == wanted, "run `python docs/reference.py > docs/reference.md`"


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


def test_every_kind_and_every_shipped_name_is_in_the_reference_and_every_kind_in_the_design():
    page, design = (DOCS / "reference.md").read_text(), (DOCS / "design.md").read_text()
    for entry in registry():
        assert f"### {entry.kind} `{entry.name}`" in page
    for kind in KINDS:
        assert f"### {kind}\n" in page and re.search(rf"^\| {kind} \|", design, re.MULTILINE), kind


def test_every_contract_can_be_looked_up():
    page = (DOCS / "reference.md").read_text()
    assert not [anchor for anchor in testing.CONTRACTS if f'<a id="{anchor}">' not in page]


def test_every_check_is_documented():
    checks = [value for name, value in vars(testing).items() if name.startswith("check_")]
    assert len(checks) == len(KINDS)
    assert all(isinstance(check, types.FunctionType) and check.__doc__ for check in checks)


def test_links_between_pages_lead_somewhere():
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
