"""Parts in words: types, defaults, and the help from a docstring."""

import inspect
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveInt

from domtrans import AugmentationOption, DistanceOption, load_plugins
from domtrans.registry.describe import default_in_words, describe, describe_options, type_in_words
from domtrans.registry.docstrings import parse_docstring


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "int"),
        (str, "text"),
        (bool, "true or false"),
        (Any, "anything"),
        (PositiveInt, "int > 0"),
        (Annotated[float, Field(ge=0, lt=1)], "float >= 0 and < 1"),
        (PositiveInt | None, "int > 0, or none"),
        (Literal["a", "b"], "'a' or 'b'"),
        (DistanceOption, "distance"),
        (AugmentationOption | None, "augmentation, or none"),
        (list[DistanceOption], "list of distances"),
        (Annotated[list[float], Field(min_length=1)], "list of float (at least 1)"),
        (dict[str, DistanceOption], "table of distances"),
        (tuple[float, float], "list of float"),
    ],
)
def test_types_in_words(annotation, words):
    assert type_in_words(annotation) == words


PROSE = """Does a thing, with ``power`` in it.

    ``first``: what the first is; it goes
    on. ``second``, ``third``: what both are.

    ``form``: "a" is one form: the usual one; "b" another. Raises DomtransError for others.
    """


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("first", "what the first is; it goes on"),
        ("second", "what both are"),
        ("third", "what both are"),
        ("form", '"a" is one form: the usual one; "b" another'),
        ("power", "Does a thing, with power in it"),
        ("missing", ""),
    ],
)
def test_help_is_taken_from_prose(option, words):
    assert parse_docstring(inspect.cleandoc(PROSE)).help_of(option) == words


GOOGLE = """Do a thing.

    More about the thing.

    Args:
        first: What the first is: it
            goes on.
        second, third: What both are.
        form: "a" or "b".

            Nothing else.

    Returns:
        A table with the keys:

        - ``share``: a share, 0 to 1.
        - ``count``: images.

    Raises:
        DomtransError: If the thing
            fails.

    Licence: free for
    any use.
    """


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("first", "What the first is: it goes on"),
        ("second", "What both are"),
        ("third", "What both are"),
        ("form", '"a" or "b". Nothing else'),
        ("share", "a share, 0 to 1"),
        ("count", "images"),
        ("missing", ""),
    ],
)
def test_help_is_taken_from_google_style_sections(name, words):
    assert parse_docstring(inspect.cleandoc(GOOGLE)).help_of(name) == words


def test_a_key_with_a_name_in_braces_is_documented_like_any_other():
    docstring = parse_docstring("Measure.\n\nReturns:\n    - ``{name}_size``: its size\n    - ``n``: number of images")
    assert docstring.help_of("{name}_size").endswith("its size") and docstring.help_of("n").endswith("number of images")


def test_a_docstring_is_split_into_its_parts_and_prose_after_a_section_is_kept():
    docstring = parse_docstring(inspect.cleandoc(GOOGLE))
    assert (docstring.summary, docstring.licence) == ("Do a thing.", "free for any use.")
    assert docstring.text == "More about the thing.\n\nLicence: free for\nany use."
    assert docstring.returns.startswith("A table with the keys:") and docstring.raises == (
        ("DomtransError", "If the thing fails."),
    )


def test_a_docstring_with_one_section_has_no_prose_from_it():
    docstring = parse_docstring("Do it.\n\nArgs:\n    fast: Quickly.")
    assert (docstring.arguments, docstring.text) == ({"fast": "Quickly"}, "")


@pytest.mark.parametrize(
    "text", ["", "Args:", "Do it.\n\nArgs:\nnot indented", "Do it.\n\nArgs:\n    no colon\n", "A.\n\nReturns:\n"]
)
def test_a_docstring_in_any_other_form_is_prose(text):
    assert parse_docstring(text).arguments == {} and parse_docstring(text).help_of("x") == ""


def test_a_part_is_described_with_its_options():
    registry = load_plugins(only=()).registry
    part = describe(registry.get("encoder", "digit-encoder"))
    assert (part.plugin, part.handed_in, part.gives) == ("digits", ("size", "classes"), "an Encoder, f")
    assert part.summary.startswith("f: 4 strided convolutions")
    plain = part.to_json()
    assert plain["options"][0]["name"] == "head" and plain["options"][0]["default"] is None
    assert "required" in plain["options"][0] and plain["module"] == "domtrans_digits.networks.dtn"


def test_defaults_in_words():
    def part(*, a: int, b: bool = True, c: str | None = None, d: float = 0.5):
        """A part."""

    assert [default_in_words(option.default) for option in describe_options(part)] == ["required", "true", "none", "0.5"]


def test_the_docstring_of_a_base_class_is_not_used():
    class Heir(Base):
        pass

    assert describe_options(Heir)[0].help == ""


class Base:
    """A base.

    ``width``: of something else.
    """

    def __init__(self, *, width: int = 1) -> None:
        self.width = width
