"""The demo: what it shows of a picture, what it refuses, and the page in a real browser."""

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from PIL import Image

from commands import PIPED, in_process
from domtrans import DomtransError, load, train
from domtrans.demo.demo import Demo
from domtrans.demo.serve import address, listen
from tiny import registry, tiny_recipe

pytest.importorskip("uvicorn", reason="the extra domtrans[demo] is not installed")
pytest.importorskip("starlette", reason="the extra domtrans[demo] is not installed")


def encoded(colour, form="PNG", size=(32, 32)):
    """A picture of one colour, as a file's bytes."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def bomb():
    """A PNG of a few bytes that says it has 40,000 x 40,000 pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def pixels(png):
    return torch.tensor(list(Image.open(io.BytesIO(base64.b64decode(png.split(",")[-1]))).tobytes()))


def alike(one, other):
    """Whether two pictures are the same but for what a batch of another size may round otherwise."""
    return (pixels(one) - pixels(other)).abs().max() <= 1


RED, BLUE = encoded((200, 40, 30)), encoded((20, 60, 180), "JPEG", (50, 40))


@pytest.fixture(scope="module")
def shown(trained):
    return Demo(load(trained[0], device="cpu", registry=registry()))


# What is shown


def test_it_shows_what_transfer_makes_and_real_images_and_what_f_sees(shown):
    look = shown.transfer([RED])
    image = Image.open(io.BytesIO(RED))
    assert torch.equal(pixels(look.made), torch.tensor(list(shown.run.transfer(image).tobytes())))
    assert torch.equal(pixels(look.seen[0]), torch.tensor(list(image.tobytes())))
    cosines = [value for _, value in look.nearest]
    assert len(cosines) == 6 and cosines == sorted(cosines, reverse=True) and -1 <= cosines[-1] <= cosines[0] <= 1.001
    assert {name for name, _ in look.x_opinion} == {"0", "1", "2", "3"} and len(shown.examples) == 4 and not shown.gaps
    assert sum(share for _, share in look.made_opinion) == pytest.approx(1, abs=1e-4)


def test_a_real_image_is_the_nearest_to_itself(shown):
    found = shown._nearest(shown.real_features[3:4])
    assert torch.equal(pixels(found[0][0]), shown.real[3].flatten()) and found[0][1] == pytest.approx(1, abs=1e-4)


def test_features_are_blended_from_one_picture_to_the_other_and_scaled(shown):
    alone = [shown.transfer([one]).made for one in (RED, BLUE)]
    ends = [shown.transfer([RED, BLUE], blend=blend) for blend in (0, 0.5, 1)]
    assert alike(ends[0].made, alone[0]) and alike(ends[2].made, alone[1]) and len(ends[1].seen) == 2
    assert not any(alike(ends[1].made, end) for end in alone)
    assert shown.transfer([RED], strength=0).made == shown.transfer([BLUE], strength=0).made
    assert not alike(shown.transfer([RED], strength=2).made, alone[0])


@pytest.mark.parametrize(
    "content, fault",
    [(b"", "not a picture"), (b"hello" * 99, "not a picture"), (RED[:60], "cannot be read"), (bomb(), "too many pixels")],
)
def test_what_is_no_picture_is_refused_in_a_sentence(shown, content, fault):
    with pytest.raises(DomtransError, match=f"the picture .*{fault}"):
        shown.transfer([content])


def test_without_data_it_shows_the_rest_and_says_what_is_missing(trained, tmp_path):
    lonely = shutil.copytree(trained[0], tmp_path / "run")
    (lonely / "examples.safetensors").unlink()
    recipe = load(lonely, device="cpu", registry=registry()).recipe
    gone = [Path(part.options["path"]) for part in (recipe.source, recipe.target)]
    for path in gone:
        path.rename(path.with_suffix(".gone"))
    try:
        demo = Demo(load(lonely, device="cpu", registry=registry()))
    finally:
        for path in gone:
            path.with_suffix(".gone").rename(path)
    assert len(demo.gaps) == 2 and all("npz" in gap for gap in demo.gaps)
    look = demo.transfer([RED])
    assert look.made and look.nearest == [] and demo.examples == [] and demo.pace() > 0
    again = Demo(load(lonely, device="cpu", registry=registry()))  # test images of the data, where the run kept none
    assert len(again.examples) == 4 and not again.gaps


def test_a_g_that_reads_images_has_nothing_to_slide(tmp_path):
    recipe = tiny_recipe(tmp_path, generator="digit-image-generator", train__steps=1, metrics__digits="none")
    demo = Demo(train(recipe, tmp_path / "run", device="cpu", registry=registry()))
    assert not demo.bends
    assert demo.transfer([RED, BLUE], blend=1, strength=0).made == demo.transfer([RED]).made


# Where it listens


def test_a_taken_port_is_passed_over():
    with listen(port=0) as first:
        port = first.getsockname()[1]
        with listen(port=port) as second:
            assert port < second.getsockname()[1] < port + 20 and address(second).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_a_host_that_is_not_here_is_refused(host):
    with pytest.raises(DomtransError, match=f"cannot listen at {host}"):
        listen(host)


def test_without_the_extra_the_command_that_brings_it_is_told(monkeypatch, capsys, trained):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, said = in_process(capsys, "demo", trained[0], "--no-browser")
    assert code == 2 and "pip install 'domtrans[demo]'" in said and said.count("\n") == 1


# The server


@pytest.fixture(scope="module")
def url(trained):
    """Of a demo that was started as a person starts it, and is ended with Ctrl-C."""
    command = [sys.executable, "-m", "domtrans", "demo", str(trained[0]), "--no-browser", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | PIPED) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/) shows digits-dtn-paper; a picture takes \d+ ms; .*\n", line)
            assert found, line
            yield found[1]
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


def post(url, body, **headers):
    """Status and answer of a request to transfer."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request("POST", "/transfer", body, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content.startswith(b"{") else content.decode()


def test_the_server_transfers(url, shown):
    status, look = post(url, {"pictures": [base64.b64encode(BLUE).decode()]})
    assert status == 200 and look["made"] == shown.transfer([BLUE]).made and look["milliseconds"] > 0


@pytest.mark.parametrize(
    "body, status, fault",
    [
        ({}, 400, "Field required"),
        ({"pictures": []}, 400, "at least 1"),
        ({"pictures": [""] * 3}, 400, "at most 2"),
        ({"pictures": ["%"]}, 400, "the picture is not a picture|[Bb]ase64"),
        ({"pictures": [""], "blend": 2}, 400, "less than or equal to 1"),
        (b'{"pictures": [""], "strength": NaN}', 400, "finite"),
        (b"[" * 100_000, 400, "recursion limit"),
        (b"\xff", 400, "cannot be transferred"),
        ({"pictures": [base64.b64encode(bomb()).decode()]}, 400, "too many pixels"),
        ({"pictures": ["A" * (15 * 2**20)]}, 413, "10 MB"),
        (b"A" * (29 * 2**20), 413, "10 MB"),
    ],
)
def test_the_server_refuses_in_a_sentence_and_stays(url, body, status, fault):
    try:
        found, answer = post(url, body)
    except (BrokenPipeError, ConnectionResetError):  # it stopped listening to a body without end
        assert status == 413
    else:
        assert found == status and re.search(fault, answer["error"])
    assert post(url, {"pictures": [base64.b64encode(RED).decode()]})[0] == 200


def test_pages_of_other_sites_and_borrowed_names_get_nothing(url):
    assert post(url, b"{}", **{"Content-Type": "text/plain"})[0] == 415
    assert post(url, b"{}", Host="evil.example")[0] == 400


# The page


def answered(page, *, after=None):
    """The pictures of x and G(x), once the newest question is answered; ``after``: and x is another than before."""
    if after is not None:
        page.locator(f'#x[src]:not([src="{after[0]}"])').wait_for()
    page.wait_for_timeout(100)
    page.locator("main[aria-busy=false]").wait_for()
    return page.locator("#x").get_attribute("src"), page.locator("#made").get_attribute("src")


def test_drawing_uploading_filming_and_sliding(url, visit, tmp_path):
    page = visit(url)
    seen = [answered(page)]
    assert page.locator(".example").count() == 4 and page.locator("#nearest img").count() == 6

    page.locator(".example").nth(2).click()
    seen.append(answered(page))

    box = page.locator("#sheet").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 240, steps=8)
    page.mouse.up()
    seen.append(answered(page))

    page.locator("#strength").fill("1.8")
    assert answered(page)[1] != seen[-1][1] and page.locator("output[for=strength]").inner_text() == "1.80"
    page.locator("#strength").fill("1")
    assert answered(page) == seen[-1]

    page.locator("#hold").click()
    page.locator(".example").first.click()
    assert answered(page)[1] not in seen[0]  # half of it is the drawing
    page.locator("#blend").fill("1")
    assert alike(answered(page)[1], seen[2][1])
    page.locator("#hold").click()
    assert answered(page) == seen[0] and page.locator("#blend").is_disabled()

    page.locator("#tab-upload").click()
    (tmp_path / "blue.jpg").write_bytes(BLUE)
    page.locator("#file").set_input_files(tmp_path / "blue.jpg")
    seen.append(answered(page, after=seen[0]))
    rows = page.locator("#x-opinion tr")
    assert rows.count() == 4 and rows.first.inner_text().endswith("%")

    page.locator("#tab-camera").click()
    page.locator("#record").click()
    page.locator("#record", has_text="Stop").wait_for()
    filmed = answered(page, after=seen[-1])
    page.locator("#record", has_text="Stop").click()
    seen.append(answered(page))
    assert filmed not in seen[:-1]
    assert len({x for x, _ in seen}) == len(seen) and page.locator("#error").is_hidden()


def test_a_bad_file_is_refused_in_the_page(url, browser, tmp_path):
    page = browser.new_page()
    page.goto(url)
    before = answered(page)
    (tmp_path / "notes.png").write_text("no picture")
    (tmp_path / "large.png").write_bytes(bytes(11 * 2**20))
    page.locator("#tab-upload").click()
    for name, sentence in (
        ("notes.png", "The picture is not a picture that can be read."),
        ("large.png", "A picture's file may "),
    ):
        page.locator("#file").set_input_files(tmp_path / name)
        page.locator("#error", has_text=sentence).wait_for()
    assert answered(page) == before
    page.locator(".example").first.click()
    answered(page)
    assert page.locator("#error").is_hidden()
    page.close()


def test_it_says_so_when_the_server_is_gone(url, browser):
    page = browser.new_page()
    page.goto(url)
    answered(page)
    page.context.set_offline(True)
    page.locator(".example").last.click()
    page.locator("#error").wait_for()
    assert page.locator("#error").inner_text().startswith("The demo does not answer")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways_and_sees_the_result_while_drawing(url, visit, scheme):
    page = visit(url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme)
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#made").bounding_box()["y"] < page.locator("#sheet").bounding_box()["y"] < 844
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(17, 20, 24)",
        }[scheme]
    )
