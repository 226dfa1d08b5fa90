"""Every attack of examples/attacks.py is refused, as docs/attacks.md says."""

import importlib
import re

import pytest

from paths import DOCS, EXAMPLES


@pytest.fixture
def attacks(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("attacks")


def rows(text):
    """The rows of a table, without what depends on versions and plugins: numbers, and remarks in parentheses."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [re.sub(r"\([^)]*\)|[\d,]+", "", line) for line in lines]


def test_every_attack_is_refused_as_documented(attacks, capsys):
    with pytest.raises(SystemExit) as ended:
        attacks.main()
    printed = capsys.readouterr().out
    assert ended.value.code == 0 and "NOT REFUSED" not in printed
    assert rows(printed) == rows((DOCS / "attacks.md").read_text())


def test_an_attack_that_succeeds_would_be_seen(attacks, capsys, monkeypatch):
    def harmless(folder):
        """Nothing."""

    def cunning(folder):
        """Runs a command, and is refused then."""
        (folder / "sprung").touch()
        raise attacks.domtrans.DomtransError("too late")

    for attack in (harmless, cunning):
        monkeypatch.setattr(attacks, "ATTACKS", [attack])
        with pytest.raises(SystemExit) as ended:
            attacks.main()
        assert ended.value.code == 1
    assert "| Nothing. | NOT REFUSED |" in capsys.readouterr().out
