"""The registry: duplicate and unknown names, signatures, options, nested parts."""

from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import Field

from domtrans import DistanceOption, DomtransError, Part, Registry, use
from domtrans.registry.registry import KINDS, registration


def gap(a, b, *, power: Annotated[float, Field(gt=0)] = 2.0):
    """The mean power of the difference."""
    return (a - b).abs().pow(power).mean()


def headed(a, b, classify, *, mode: Literal["x", "y"] = "x"):
    """Use the head of f."""
    return classify(a - b), mode


class Holder:
    """A loss-like thing that holds distances."""

    def __init__(
        self,
        *,
        main: DistanceOption = "gap",
        other: DistanceOption | None = None,
        several: Annotated[list[DistanceOption], Field(max_length=2)] = [],  # noqa: B006
        named: dict[str, DistanceOption] = {},  # noqa: B006
        count: int = 3,
    ) -> None:
        self.main, self.other, self.several, self.named, self.count = main, other, several, named, count


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.distance("gap", gap)
    registry.distance("headed", headed)
    registry.loss("holder", Holder)
    return registry


def test_every_kind_has_a_method_that_registers_as_a_call_and_as_a_decorator():
    registry = Registry()
    for kind in KINDS.values():
        parameters = ", ".join(kind.arguments)
        factory = eval(f"lambda {parameters}: None")
        assert getattr(registry, kind.name)("one", factory) is factory
        assert getattr(registry, kind.name)("two")(factory) is factory
        assert registry.names(kind.name) == ["one", "two"]
    assert len(list(registry)) == 2 * len(KINDS)


def test_a_duplicate_names_both_owners(registry):
    with registration(registry, "first") as first:
        first.distance("near", lambda a, b: a)
    with pytest.raises(DomtransError, match=r"'second'.*'near'.*'first'"), registration(registry, "second") as second:
        second.distance("near", lambda a, b: b)
    assert registry.get("distance", "near").owner == "first"


def test_one_name_may_serve_two_kinds(registry):
    registry.recipe("gap", lambda: None)
    assert registry.get("recipe", "gap").factory is not registry.get("distance", "gap").factory


def test_the_parts_of_a_plugin_that_fails_are_removed(registry):
    with pytest.raises(ZeroDivisionError), registration(registry, "half") as owned:
        owned.distance("near", lambda a, b: a)
        raise ZeroDivisionError
    assert registry.names("distance") == ["gap", "headed"]
    assert not [entry for entry in registry if entry.owner == "half"]


def test_a_similar_name_is_suggested_and_otherwise_all_are_listed(registry):
    with pytest.raises(DomtransError, match=r"no distance 'gup' \(did you mean 'gap'\?\)"):
        registry.build("distance", use("gup"))
    with pytest.raises(DomtransError, match=r"no distance 'zzzzz' \(distances: gap, headed\)"):
        registry.get("distance", "zzzzz")
    with pytest.raises(DomtransError, match="there are no recipes"):
        registry.get("recipe", "anything")


@pytest.mark.parametrize("name", ["", "none", "two words", "a.b", "a=b", "tab\t", None, 3])
def test_names_that_could_not_be_written_in_an_override_are_refused(registry, name):
    with pytest.raises(DomtransError, match="a name is a word"):
        registry.distance(name, gap)


@pytest.mark.parametrize(
    ("kind", "factory", "message"),
    [
        ("domain", lambda split: None, r"positional parameters \(split\); the engine passes \(split, size\)"),
        ("domain", lambda split, size, root: None, "options come after a"),
        ("fit", lambda encoder, source, session, target, more: None, "the engine passes"),
        ("distance", lambda a: None, "the engine passes"),
        ("loss", lambda session, more: None, "the engine passes"),
        ("metric", lambda: None, "the engine passes"),
        ("distance", 3, "a part is a class or function, not int"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused_at_once(registry, kind, factory, message):
    with pytest.raises(DomtransError, match=message):
        getattr(registry, kind)("new", factory)
    assert "new" not in registry.names(kind)


def nowhere(a, b, *, c: "NoSuchType" = 1):  # noqa: F821
    """Its annotation names an unknown type."""


def nothing_there(a, b, *, c: "torch.NoSuchType" = 1):
    """Its annotation names an attribute that the module does not have."""


def no_expression(a, b, *, c: "1 +" = 1):  # noqa: F722
    """Its annotation is not Python."""


def underscored(a, b, *, _c: int = 1):
    """The name of its option cannot be a field."""


@pytest.mark.parametrize("factory", [nowhere, nothing_there, no_expression, underscored])
def test_options_that_cannot_be_read_from_the_signature_are_refused(registry, factory):
    with pytest.raises(DomtransError, match=r"plugin 'this program' registers the distance 'new'.*cannot be read from"):
        registry.distance("new", factory)


@pytest.mark.parametrize(
    ("kind", "factory", "word"),
    [
        ("loss", lambda *, weight=1: None, "weight"),
        ("loss", lambda *, start=1: None, "start"),
        ("loss", lambda *, stop=1: None, "stop"),
        ("encoder", lambda size, classes, *, weights=None: None, "weights"),
        ("distance", lambda a, b, *, name="": None, "name"),
        ("distance", lambda a, b, *, options=(): None, "options"),
    ],
)
def test_reserved_names_are_refused_as_options(registry, kind, factory, word):
    with pytest.raises(DomtransError, match=f"option named '{word}'"):
        getattr(registry, kind)("new", factory)


def test_functions_are_called_with_their_options_fixed(registry):
    a, b = torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0])
    assert registry.build("distance", use("gap"))(a, b, None).item() == 2.5
    assert registry.build("distance", use("gap", power=1))(a, b).item() == 1.5
    assert registry.build("distance", use("headed", mode="y"))(3, 1, lambda x: x * 10) == (20, "y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"powr": 2}, r"distance 'gap': there is no option 'powr' \(did you mean 'power'\?\)"),
        ({"power": "much"}, "option 'power'.*not 'much'"),
        ({"power": 0}, "option 'power'.*greater than 0, not 0"),
        ({"power": float("inf")}, "option 'power'.*finite"),
        ({"power": None}, "option 'power'"),
    ],
)
def test_wrong_options_are_one_clear_sentence(registry, options, message):
    with pytest.raises(DomtransError, match=message):
        registry.build("distance", use("gap", **options))


def test_an_option_without_default_must_be_given(registry):
    registry.metric("needs", lambda inputs, *, path: path)
    with pytest.raises(DomtransError, match="metric 'needs': option 'path' must be given"):
        registry.build("metric", use("needs"))


def test_nested_parts_are_built_in_lists_and_tables(registry):
    options: dict[str, Any] = {
        "main": {"name": "gap", "power": 1},
        "other": "gap",
        "several": ["gap", {"name": "gap", "power": 3}],
        "named": {"x": "gap"},
    }
    built = registry.build("loss", use("holder", **options))
    a, b = torch.tensor([3.0]), torch.tensor([1.0])
    values = [distance(a, b).item() for distance in (built.main, built.other, *built.several, built.named["x"])]
    assert values == [2, 4, 4, 8, 4]


def test_errors_in_nested_parts_are_found(registry):
    with pytest.raises(DomtransError, match="no distance 'gop'"):
        registry.build("loss", use("holder", main="gop"))
    with pytest.raises(DomtransError, match="distance 'gap': there is no option 'pow'"):
        registry.resolve("loss", use("holder", named={"x": {"name": "gap", "pow": 1}}))
    with pytest.raises(DomtransError, match=r"option 'several'.*at most 2"):
        registry.build("loss", use("holder", several=["gap", "gap", "gap"]))


def test_resolve_writes_out_every_default_at_any_depth(registry):
    full = registry.resolve("loss", use("holder", several=["gap"])).model_dump(mode="json")
    gap_written_out = {"name": "gap", "power": 2.0}
    assert full == {
        "name": "holder",
        "main": gap_written_out,
        "other": None,
        "several": [gap_written_out],
        "named": {},
        "count": 3,
    }
    assert registry.resolve("loss", Part.model_validate(full)).model_dump(mode="json") == full


def test_a_part_is_written_flat_and_read_flat():
    part = use("gap", power=1)
    assert part == Part.model_validate({"name": "gap", "power": 1}) and part.options == {"power": 1}
    assert part.model_dump() == {"name": "gap", "power": 1}
    assert Part.model_validate("gap") == use("gap")
    assert str(part) == "gap(power=1)" and str(use("gap")) == "gap"


def test_a_summary_is_the_first_line_of_the_docstring(registry):
    assert registry.get("distance", "gap").summary == "The mean power of the difference."
    registry.distance("bare", lambda a, b: a)
    assert registry.get("distance", "bare").summary == ""
