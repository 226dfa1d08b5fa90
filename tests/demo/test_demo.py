"""The demo: what it shows of an image, what it refuses, and the page in a real browser."""

import base64
import http.client
import io
import json
import re
import shutil
import signal
import socket
import struct
import sys
import zlib
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from PIL import Image
from torch import nn

from commands import in_process
from domtrans import DomtransError, load, to_float, train
from domtrans.demo.demo import Demo
from domtrans.demo.serve import browser_address, listen
from processes import start
from tiny import registry, tiny_recipe

pytest.importorskip("uvicorn", reason="the extra domtrans[demo] is not installed")
pytest.importorskip("starlette", reason="the extra domtrans[demo] is not installed")


def encoded(colour, form="PNG", size=(32, 32)):
    """An image file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def bomb():
    """A PNG of a few bytes whose header says 40,000 x 40,000 pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def pixels(png):
    return torch.tensor(list(Image.open(io.BytesIO(base64.b64decode(png.split(",")[-1]))).tobytes()))


def alike(one, other):
    """Whether two images are equal, apart from rounding in batches of another size."""
    return (pixels(one) - pixels(other)).abs().max() <= 1


RED, BLUE = encoded((200, 40, 30)), encoded((20, 60, 180), "JPEG", (50, 40))


@pytest.fixture(scope="module")
def demo(trained):
    return Demo(load(trained[0], device="cpu", registry=registry()))


# Content


def test_it_shows_the_transfer_and_real_images_and_the_prediction_of_f(demo):
    result = demo.transfer([RED])
    image = Image.open(io.BytesIO(RED))
    assert torch.equal(pixels(result.output), torch.tensor(list(demo.run.transfer(image).tobytes())))
    assert torch.equal(pixels(result.inputs[0]), torch.tensor(list(image.tobytes())))
    cosines = [value for _, value in result.nearest]
    assert len(cosines) == 6 and cosines == sorted(cosines, reverse=True) and -1 <= cosines[-1] <= cosines[0] <= 1.001
    assert {name for name, _ in result.input_prediction} == {"0", "1", "2", "3"}
    assert len(demo.examples) == 4 and not demo.missing
    assert sum(share for _, share in result.output_prediction) == pytest.approx(1, abs=1e-4)


class Memorised(nn.Module):
    """A g that has memorised one image."""

    reads_images = False

    def __init__(self, image):
        super().__init__()
        self.image = image

    def forward(self, features):
        return to_float(self.image.expand(len(features), -1, -1, -1))


def test_a_memorised_image_is_nearest_to_itself(trained):
    demo = Demo(load(trained[0], device="cpu", registry=registry()))
    image = demo.target_images[3]
    demo.run.model.generator = Memorised(image)
    nearest, cosine = demo.transfer([RED]).nearest[0]
    assert torch.equal(pixels(nearest), image.flatten()) and cosine == pytest.approx(1, abs=1e-4)


def test_features_are_blended_from_one_image_to_the_other_and_scaled(demo):
    alone = [demo.transfer([image]).output for image in (RED, BLUE)]
    ends = [demo.transfer([RED, BLUE], blend=blend) for blend in (0, 0.5, 1)]
    assert alike(ends[0].output, alone[0]) and alike(ends[2].output, alone[1]) and len(ends[1].inputs) == 2
    assert not any(alike(ends[1].output, end) for end in alone)
    assert demo.transfer([RED], strength=0).output == demo.transfer([BLUE], strength=0).output
    assert not alike(demo.transfer([RED], strength=2).output, alone[0])


@pytest.mark.parametrize(
    "content, fault",
    [(b"", "not an image"), (b"hello" * 99, "not an image"), (RED[:60], "cannot be read"), (bomb(), "more than the limit")],
)
def test_what_is_not_an_image_is_refused_in_a_sentence(demo, content, fault):
    with pytest.raises(DomtransError, match=f"the input .*{fault}"):
        demo.transfer([content])


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
    assert len(demo.missing) == 2 and all("npz" in sentence for sentence in demo.missing)
    result = demo.transfer([RED])
    assert result.output and result.nearest == [] and demo.examples == [] and demo.median_milliseconds() > 0
    again = Demo(load(lonely, device="cpu", registry=registry()))  # from the data, because the run has none
    assert len(again.examples) == 4 and not again.missing


def test_a_g_that_reads_images_has_no_features_to_edit(tmp_path):
    recipe = tiny_recipe(tmp_path, generator="digit-image-generator", train__steps=1, metrics__digits="none")
    demo = Demo(train(recipe, tmp_path / "run", device="cpu", registry=registry()))
    assert not demo.can_edit_features
    assert demo.transfer([RED, BLUE], blend=1, strength=0).output == demo.transfer([RED]).output


# Ports


def test_a_port_in_use_is_skipped():
    with listen(port=0) as first:
        port = first.getsockname()[1]
        with listen(port=port) as second:
            assert port < second.getsockname()[1] < port + 20 and browser_address(second).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused(host):
    with pytest.raises(DomtransError, match=f"cannot listen at {host}"):
        listen(host)


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch, capsys, trained):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, stderr = in_process(capsys, "demo", trained[0], "--no-browser")
    assert code == 2 and "pip install 'domtrans[demo]'" in stderr and stderr.count("\n") == 1


# The server


def start_demo(run):
    return start("-m", "domtrans", "demo", run, "--no-browser", "--port", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def url(trained):
    """The address of a demo that was started from a shell, and is stopped with Ctrl-C."""
    with start_demo(trained[0]) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/) shows digits-dtn-paper; an image takes \d+ ms; .*\n", line)
            assert found, line
            yield found[1]
            process.send_signal(signal.SIGINT)
            assert process.wait() == 0
        finally:
            process.kill()


def post(url, body, **headers):
    """Status and answer of a request."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)) as connection:
        connection.request("POST", "/transfer", body, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content.startswith(b"{") else content.decode()


def test_the_server_transfers(url, demo):
    status, result = post(url, {"images": [base64.b64encode(BLUE).decode()]})
    assert status == 200 and result["output"] == demo.transfer([BLUE]).output and result["milliseconds"] > 0


@pytest.mark.parametrize(
    "body, status, fault",
    [
        ({}, 400, "Field required"),
        ({"images": []}, 400, "at least 1"),
        ({"images": [""] * 3}, 400, "at most 2"),
        ({"images": ["%"]}, 400, "the input is not an image|[Bb]ase64"),
        ({"images": [""], "blend": 2}, 400, "less than or equal to 1"),
        (b'{"images": [""], "strength": NaN}', 400, "finite"),
        (b"[" * 100_000, 400, "recursion limit"),
        (b"\xff", 400, "the request is invalid"),
        ({"images": [base64.b64encode(bomb()).decode()]}, 400, "more than the limit"),
        ({"images": ["A" * (15 * 2**20)]}, 413, "10 MB"),
        (b"A" * (29 * 2**20), 413, "10 MB"),
    ],
)
def test_the_server_refuses_in_a_sentence_and_stays_up(url, body, status, fault):
    try:
        found, answer = post(url, body)
    except (BrokenPipeError, ConnectionResetError):  # it stops reading a body that is too large
        assert status == 413
    else:
        assert found == status and re.search(fault, answer["error"])
    assert post(url, {"images": [base64.b64encode(RED).decode()]})[0] == 200


def test_pages_of_other_sites_and_foreign_host_names_are_refused(url):
    assert post(url, b"{}", **{"Content-Type": "text/plain"})[0] == 415
    assert post(url, b"{}", Host="evil.example")[0] == 400
    body = {"images": [base64.b64encode(RED).decode()]}
    for origin in ("http://evil.example", "https://evil.example", "null", url.rstrip("/").replace("127.0.0.1", "localhost")):
        status, answer = post(url, body, Origin=origin)
        assert status == 403 and "another site" in answer["error"], origin
    assert post(url, body, Origin=url.rstrip("/"))[0] == 200


def test_a_client_that_leaves_early_leaves_no_traceback(trained):
    with start_demo(trained[0]) as process:
        try:
            own_url = process.stdout.readline().split()[0]
            parts = urlsplit(own_url)
            head = f"POST /transfer HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            head += "Content-Length: 1000\r\n\r\n"
            with socket.create_connection((parts.hostname, parts.port)) as connection:
                connection.sendall(head.encode() + b'{"images": [')
            assert post(own_url, {"images": [base64.b64encode(RED).decode()]})[0] == 200, "and the server stays up"
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 0 and stderr == ""


# The page


def answered(page, *, after=None):
    """The images x and G(x) after the newest request; ``after``: wait until x differs from this one."""
    if after is not None:
        page.locator(f'#x[src]:not([src="{after[0]}"])').wait_for()
    page.wait_for_timeout(100)
    page.locator("main[aria-busy=false]").wait_for()
    return page.locator("#x").get_attribute("src"), page.locator("#output").get_attribute("src")


def test_drawing_uploading_camera_and_sliders(url, visit, tmp_path):
    page = visit(url)
    seen = [answered(page)]
    assert page.locator(".example").count() == 4 and page.locator("#nearest img").count() == 6

    page.locator(".example").nth(2).click()
    seen.append(answered(page))

    box = page.locator("#canvas").bounding_box()
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
    rows = page.locator("#input-prediction tr")
    assert rows.count() == 4 and rows.first.inner_text().endswith("%")

    page.locator("#tab-camera").click()
    page.locator("#camera-button").click()
    page.locator("#camera-button", has_text="Stop").wait_for()
    camera = answered(page, after=seen[-1])
    page.locator("#camera-button", has_text="Stop").click()
    seen.append(answered(page))
    assert camera not in seen[:-1]
    assert len({x for x, _ in seen}) == len(seen) and page.locator("#error").is_hidden()


def test_a_bad_file_is_refused_in_the_page(url, browser, tmp_path):
    page = browser.new_page()
    page.goto(url)
    before = answered(page)
    (tmp_path / "notes.png").write_text("not an image")
    (tmp_path / "large.png").write_bytes(bytes(11 * 2**20))
    page.locator("#tab-upload").click()
    for name, sentence in (
        ("notes.png", "The input is not an image that can be read."),
        ("large.png", "The image file has 11.0 MB, and the limit is 10 MB."),
    ):
        page.locator("#file").set_input_files(tmp_path / name)
        page.locator("#error", has_text=sentence).wait_for()
    assert answered(page) == before
    page.locator(".example").first.click()
    answered(page)
    assert page.locator("#error").is_hidden()
    page.close()


def test_the_page_says_when_the_server_is_gone(url, browser):
    page = browser.new_page()
    page.goto(url)
    answered(page)
    page.context.set_offline(True)
    page.locator(".example").last.click()
    page.locator("#error").wait_for()
    assert page.locator("#error").inner_text().startswith("The demo does not answer")
    page.close()


@pytest.mark.parametrize("width", [390, 1200])
def test_the_name_of_a_prediction_is_never_cut_off(url, visit, width):
    page = visit(url, viewport={"width": width, "height": 844})
    answered(page)
    page.evaluate("showPrediction('input-prediction', [['hair_colour: brown', 0.5]])")
    name = page.locator("#input-prediction th")
    assert name.inner_text() == "hair colour: brown"
    assert name.evaluate("(one) => one.scrollWidth <= one.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_page_fits_and_shows_the_result_while_drawing(url, visit, scheme):
    page = visit(url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme)
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#output").bounding_box()["y"] < page.locator("#canvas").bounding_box()["y"] < 844
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(17, 20, 24)",
        }[scheme]
    )
