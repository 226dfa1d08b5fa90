"""The parameters of drawings: which are accepted, their indices, files of them, and what an SVG may hold."""

import importlib
import json
import tarfile

import numpy as np
import pytest
import torch

import dots
from domtrans import Choice, Colour, DomtransError, ImageSet, ParameterSpace, find_engine, load_domain, load_plugins, use
from domtrans.data.drawings import NamedEngine, read_drawing
from domtrans.data.shard_writer import Shards
from domtrans.data.svg import check_svg, with_size
from domtrans.testing import check_domain, check_engine
from paths import DOCS

RED_CIRCLE = {"shape": "circle", "shapeColor": "#ff0000", "paper": "#ffffff"}


@pytest.fixture(scope="module")
def registry():
    return load_plugins(dots).registry


@pytest.fixture
def drawing(registry):
    return NamedEngine.of(registry, use("dots", margin=1)).draw(RED_CIRCLE)


def test_parameters_are_completed_to_the_order_of_the_slots():
    given = {"paper": "#CCCCCC", "shapeColor": "#123456", "shape": "star"}
    assert list(dots.SPACE.check(given).items()) == [("shape", "star"), ("shapeColor", "#123456"), ("paper", "#cccccc")]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shap": "star"}, "there is no parameter 'shap' .did you mean 'shape'"),
        ({"paper": None}, "the parameter 'paper' cannot be None .a colour like #ffffff"),
        ({"paper": "white"}, "the parameter 'paper' cannot be 'white' .a colour like #ffffff"),
        ({"paper": '#ffffff" onload="x'}, "the parameter 'paper' cannot be"),
        ({"paper": "#ffffff\n"}, "the parameter 'paper' cannot be"),
        ({"shape": ["star"]}, "the parameter 'shape' cannot be .'star'. .values: none, circle, square, star"),
    ],
)
def test_other_parameters_are_refused(changes, sentence):
    with pytest.raises(DomtransError, match=sentence):
        dots.SPACE.check(RED_CIRCLE | changes)
    with pytest.raises(DomtransError, match="the parameter 'shapeColor' is missing"):
        dots.SPACE.check({"shape": "star", "paper": "#ffffff"})


def test_indices_are_those_of_values_and_of_the_nearest_colours():
    assert dots.SPACE.sizes == (3, 3, 2)
    assert dots.SPACE.indices({"shape": "square", "shapeColor": "#10e020", "paper": "#d0d0d0"}) == [2, 1, 1]
    assert dots.SPACE.indices({"shape": "star", "shapeColor": "#0000f0", "paper": "#ffffff"}) == [-1, 2, 0]
    assert dots.SPACE.parameters([1, 0, -1]) == RED_CIRCLE
    with pytest.raises(DomtransError, match="'paper' has 2 values, and none with the index 2"):
        dots.SPACE.parameters([0, 0, 2])
    with pytest.raises(DomtransError, match="2 indices, but 3 parameters"):
        dots.SPACE.parameters([0, 0])


def test_a_slot_that_does_not_show_is_hidden():
    none = RED_CIRCLE | {"shape": "none"}
    assert dots.SPACE.hidden(none) == {"shapeColor"} and dots.SPACE.hidden(RED_CIRCLE) == set()
    assert dots.SPACE.shown_indices(none) == [0, -1, 0]
    either = ParameterSpace(
        {"a": Choice(("x", "y")), "b": Choice(("x", "y")), "c": Colour(("#000000",))}, {"c": {"a": ("y",), "b": ("y",)}}
    )
    assert [either.hidden({"a": a, "b": b, "c": "#000000"}) == {"c"} for a, b in ("xx", "xy", "yx")] == [True, False, False]


def test_the_schema_allows_what_is_accepted():
    schema = dots.SPACE.json_schema()
    assert schema["required"] == ["shape", "shapeColor", "paper"] and schema["additionalProperties"] is False
    assert schema["properties"]["shape"] == {"enum": ["none", "circle", "square", "star"]}
    assert schema["properties"]["paper"]["examples"] == ["#ffffff", "#cccccc"]


def test_an_image_set_carries_parameters_through_every_selection(registry):
    check_domain(registry, "dots", size=8)
    check_engine(registry, "dots", margin=2)
    images = load_domain(registry, use("dots"), "train", 8)
    assert images.parameters.dtype == torch.int64 and images.parameters.shape == (12, 3)
    none = images.parameters[:, 0] == 0
    assert none.any() and (images.parameters[none, 1] == -1).all() and (images.parameters[~none, 1] >= 0).all()
    kept = load_domain(registry, use("subset", of=use("dots"), count=4), "train", 8).to(torch.device("cpu"))
    assert torch.equal(kept.parameters, images.parameters[::3]) and kept.engine is not None
    assert images.unlabelled().parameters is None and images.unlabelled().engine is not None
    drawn = [kept.engine.rasterise(kept.engine.space.parameters(row), 8) for row in kept.parameters.tolist()]
    assert np.array_equal(np.stack(drawn).transpose(0, 3, 1, 2), kept.images.numpy())
    with pytest.raises(DomtransError, match=r"parameters must be int64 \[12, 3\]"):
        ImageSet(images.pixels, engine=images.engine, parameters=images.parameters[:, :2])


def test_shards_have_the_parameters_too(registry, tmp_path):
    rendered = registry.get("domain", "dots").factory.rendered("train", 8, count=3)
    shards = Shards(rendered, tmp_path / "out", 10)
    shards.prepare({})
    shards.write(shards.missing(), 1, lambda done: None)
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        labels = [json.loads(tar.extractfile(f"0000000{number}.json").read()) for number in range(3)]
    images = load_domain(registry, use("dots", count=3), "train", 8)
    assert [dots.SPACE.shown_indices(each["parameters"]) for each in labels] == images.parameters.tolist()
    assert all(each["attributes"] == images.engine.attributes(each["parameters"]) for each in labels)


def test_an_engine_is_found_without_rendering(registry, monkeypatch):
    monkeypatch.setattr(dots, "draw", None)
    assert find_engine(registry, use("dots", margin=3)).options == {"margin": 3}
    assert find_engine(registry, use("subset", of=use("dots", margin=4), count=2)).options == {"margin": 4}
    assert find_engine(registry, use("street-digits")) is None


@pytest.mark.parametrize("fault", ["other image", "hidden slot", "script", "attributes"])
def test_the_contract_of_an_engine_is_checked(registry, monkeypatch, fault):
    svg = dots.Dots.to_svg

    def faulty(self, parameters):
        if fault == "hidden slot":
            return svg(self, parameters).replace("</svg>", f"<desc>{parameters['shapeColor']}</desc></svg>")
        return (
            svg(self, parameters).replace("</svg>", "<script>1</script></svg>") if fault == "script" else svg(self, parameters)
        )

    monkeypatch.setattr(dots.Dots, "to_svg", faulty)
    if fault == "other image":
        monkeypatch.setattr(dots.Dots, "rasterise", lambda self, parameters, size: np.zeros((size, size, 3), np.uint8))
        draw = dots.draw
        monkeypatch.setattr(dots, "draw", lambda *a, **k: ((255 - image, *rest) for image, *rest in draw(*a, **k)))
    if fault == "attributes":
        words = iter(range(10**6))
        monkeypatch.setattr(dots.Dots, "attributes", lambda self, parameters: {"drawn": ("no", "yes")[next(words) % 5 < 2]})
    with pytest.raises(AssertionError, match=r"domain-engine|domain-parameters|domain-svg"):
        check_engine(registry, "dots")


def test_a_file_of_parameters_gives_the_drawing_back(registry, drawing, tmp_path):
    file = tmp_path / "a.json"
    file.write_text(drawing.to_json())
    again = read_drawing(file, registry)
    assert again.parameters == RED_CIRCLE and again.to_svg() == drawing.to_svg() and again.note == ""
    assert np.array_equal(again.pixels(16), drawing.pixels(16)) and drawing.to_pil(16).size == (16, 16)
    file.write_text(drawing.to_json().replace("dots 2", "dots 1"))
    assert (
        read_drawing(file, registry).note
        == "the parameters were written with dots 1, and dots 2 draws them, so details may differ"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "does not hold the parameters of a drawing"),
        ({"format": "domtrans parameters 2"}, "for which 'format' is 'domtrans parameters 1'"),
        ({"engine": "dots"}, "'engine' must be a table with a name"),
        ({"parameters": []}, "'parameters' a table"),
        ({"engine": {"name": "dotz"}}, "there is no domain 'dotz' .did you mean 'dots'"),
        ({"engine": {"name": "street-digits"}}, "the domain 'street-digits' has no drawing engine"),
        ({"engine": {"name": "dots", "margin": "wide"}}, "option 'margin'"),
        ({"engine": {"name": "dots", "edge": 1}}, "there is no option 'edge'"),
        ({"parameters": RED_CIRCLE | {"shape": "ring"}}, "'shape' cannot be 'ring' .values: none, circle, square, star"),
        ({"colour": 1}, "there is no field 'colour'"),
        (" " * 1_000_001, "more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(registry, drawing, tmp_path, content, sentence):
    file = tmp_path / "a.json"
    file.write_text(content if isinstance(content, str) else json.dumps(json.loads(drawing.to_json()) | content))
    with pytest.raises(DomtransError, match=sentence) as error:
        read_drawing(file, registry)
    assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)
    with pytest.raises(DomtransError, match="cannot be read"):
        read_drawing(tmp_path / "missing.json", registry)


SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" width="9">{}</svg>'


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<rect onload="alert(1)"/>',
        '<use href="https://example.com/a.svg#b"/>',
        '<image href="data:image/png;base64,AAAA"/>',
        '<a href="#b"><rect/></a>',
        "<foreignObject/>",
        "<style>*{}</style>",
        '<rect style="fill:url( https://example.com/x )"/>',
        '<rect style="fill:u\\72l(https://example.com/x)"/>',
        '<script xmlns="http://www.w3.org/1999/xhtml">1</script>',
        '<set attributeName="href" to="javascript:1"/>',
    ],
)
def test_an_svg_that_does_more_than_draw_is_refused(inside):
    with pytest.raises(DomtransError, match="may only draw"):
        check_svg(SVG.format(inside))


def test_an_svg_that_draws_is_accepted():
    inside = '<defs><linearGradient id="a"/></defs><rect fill="url(#a)" style="fill:url(\'#a\')"/><use href="#a"/>'
    assert check_svg(SVG.format(inside)) == SVG.format(inside)
    assert with_size(SVG.format(""), 40).startswith(
        '<svg width="40" height="40" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'
    )
    for text in ("<svg/>", "<svg", '<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.format("")):
        with pytest.raises(DomtransError, match="the engine's drawing"):
            check_svg(text)


def test_the_engine_in_the_docs_keeps_its_contract(tmp_path, monkeypatch):
    page = (DOCS / "avatars.md").read_text()
    code = next(block for block in page.split("```python\n")[1:] if "DrawingEngine" in block)
    (tmp_path / "flags_of_the_docs.py").write_text(code.split("```")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    check_domain(importlib.import_module("flags_of_the_docs").flags, count=8)
