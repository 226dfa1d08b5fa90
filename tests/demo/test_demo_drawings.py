"""The demo of a run that draws by parameters: its drawing, and the menus and colours that change it."""

import base64
import http.client
import json
import threading
from contextlib import closing
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

import dots
from domtrans import DomtransError
from domtrans.demo.app import create_app, slot_label
from domtrans.demo.demo import Demo
from domtrans.demo.serve import browser_address, host_names, listen, serve

pytest.importorskip("uvicorn", reason="the extra domtrans[demo] is not installed")
pytest.importorskip("starlette", reason="the extra domtrans[demo] is not installed")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return Demo(dots.train_run(tmp_path_factory.mktemp("drawn") / "run", registry=dots.registry()))


@pytest.fixture(scope="module")
def url(demo):
    with listen(port=0) as listening:
        app = create_app(demo, hosts=host_names(listening))
        threading.Thread(target=serve, args=(app, listening), daemon=True).start()
        yield browser_address(listening)


def post(url, path, body):
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def svg(base64_text):
    return base64.b64decode(base64_text.partition("base64,")[2] or base64_text).decode()


def test_programs_get_the_svg_or_the_parameters_if_they_ask_for_them(demo, url):
    example = base64.b64decode(demo.examples[0])
    drawing = demo.run.drawing(demo.transfer([example]).drawing.parameters)
    for accept, expected in (("image/svg+xml", drawing.to_svg()), ("application/json, */*", drawing.to_json())):
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)) as connection:
            connection.request("POST", "/v1/transfer", example, {"Content-Type": "image/png", "Accept": accept})
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, accept.partition(",")[0])
            assert answer.read().decode() == expected


def test_the_result_has_the_drawing_and_its_parameters(demo, tmp_path):
    example = base64.b64decode(demo.examples[0])
    result = demo.transfer([example])
    (tmp_path / "a.png").write_bytes(example)
    (parameters,) = demo.run.parameters([Image.open(tmp_path / "a.png")])
    assert result.drawing.parameters == parameters and svg(result.drawing.svg) == demo.run.drawing(parameters).to_svg()
    assert json.loads(result.drawing.file)["parameters"] == parameters
    (tmp_path / "b.png").write_bytes(base64.b64decode(result.output))
    with Image.open(tmp_path / "b.png") as shown:
        assert list(shown.tobytes()) == list(demo.run.draw(parameters).tobytes())
    hidden = demo.draw({"shape": "none", "shapeColor": "#ff0000", "paper": "#ffffff"}).hidden
    assert hidden == ["shapeColor"] and demo.slots.keys() == dots.SPACE.slots.keys()
    with pytest.raises(DomtransError, match="'paper' is missing"):
        demo.draw({"shape": "none", "shapeColor": "#ff0000"})


def test_a_run_of_pixels_has_no_slots(tmp_path):
    run = dots.train_run(tmp_path / "run", registry=dots.registry(), generator={"name": "tiny-g"})
    demo = Demo(run)
    assert demo.slots == {} and demo.transfer([base64.b64decode(demo.examples[0])]).drawing is None


def test_the_server_draws_and_refuses_in_a_sentence(url):
    status, result = post(url, "/draw", {"parameters": {"shape": "star", "shapeColor": "#0000ff", "paper": "#cccccc"}})
    assert status == 200 and "M5 1" in svg(result["svg"]) and result["hidden"] == []
    for body, sentence in (
        ({"parameters": {"shape": "ring", "shapeColor": "#0000ff", "paper": "#cccccc"}}, "'shape' cannot be 'ring'"),
        ({"parameters": {"shape": '"><script>'}}, "'shapeColor' is missing"),
        ({"parameters": {"shape": 1}}, "should be a valid string"),
        ({}, "Field required"),
    ):
        status, answer = post(url, "/draw", body)
        assert status == 400 and sentence in answer["error"], answer


def test_menus_and_colours_change_the_drawing(url, visit):
    page = visit(url)
    page.locator("#slots:enabled").wait_for()

    def drawing_after(change):
        before = page.locator("#output").get_attribute("src")
        change()
        page.locator(f'#output:not([src="{before}"])').wait_for()
        return svg(page.locator("#output").get_attribute("src"))

    menu = page.locator("#slot-shape")
    drawing_after(lambda: menu.select_option("circle" if menu.input_value() == "none" else "none"))
    page.locator("#edited", has_text="Changed by you").wait_for()
    assert '<rect x="2"' in drawing_after(lambda: menu.select_option("square"))
    assert 'fill="#123456"' in drawing_after(lambda: page.locator("#slot-paper").fill("#123456"))
    assert page.locator("#save-svg").get_attribute("href") == page.locator("#output").get_attribute("src")
    saved = json.loads(unquote(page.locator("#save-parameters").get_attribute("href").partition(",")[2]))
    assert saved["parameters"]["paper"] == "#123456" and saved["engine"] == {"name": "dots", "margin": 0}
    assert page.locator("#slot-shapeColor").is_enabled() and page.locator("#slot-shape optgroup option").inner_text() == "star"
    drawing_after(lambda: menu.select_option("none"))
    page.locator("#slot-shapeColor:disabled").wait_for()
    assert page.get_by_label("shape color").count() == 1
    page.locator(".example").nth(1).click()
    page.locator("#edited:empty").wait_for(state="attached")


def test_names_of_slots_are_shown_as_words():
    assert [slot_label(name) for name in ("facialHairColor", "hair_style", "top")] == ["facial hair color", "hair style", "top"]
