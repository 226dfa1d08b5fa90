"""The HTTP interface for programs: what it answers, what it refuses, and that nothing is lost when many ask at once."""

import asyncio
import io
import json
from dataclasses import dataclass

import pytest
import torch
from PIL import Image

from domtrans import DomtransError, load
from tiny import registry

pytest.importorskip("starlette", reason="the extra domtrans[demo] is not installed")
from domtrans.demo import api
from domtrans.demo.access import TokenRequired, check_token
from domtrans.demo.app import create_app
from domtrans.demo.demo import Demo

TOKEN = "only-for-this-test-0"


@pytest.fixture(scope="module")
def run(trained):
    return load(trained[0], device="cpu", registry=registry())


@pytest.fixture
def app(run):
    return create_app(Demo(run), hosts=["localhost"])


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def error(self):
        return json.loads(self.content)["error"]


async def ask(app, method, path, body=b"", *, gate=None, query="", **headers):
    """The answer to a request, whose body arrives when the event ``gate`` is set."""
    sent = []

    async def receive():
        if gate is not None:
            await gate.wait()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    headers = {"host": "localhost"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "root_path": "", "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "scheme": "http", "server": ("localhost", 80), "http_version": "1.1",
    }  # fmt: skip
    await app(scope, receive, send)
    head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:]))


def post(app, body, **headers):
    headers = {"content_type": "image/png"} | headers
    return asyncio.run(ask(app, "POST", "/v1/transfer", body, **headers))


def picture(shade, size=(32, 32)):
    file = io.BytesIO()
    Image.new("RGB", size, (shade, 90, 200 - shade)).save(file, "PNG")
    return file.getvalue()


def pixels(content):
    return torch.tensor([*Image.open(io.BytesIO(content)).tobytes()])


def test_an_image_file_becomes_a_png_as_run_transfer_makes_it(app, run):
    answer = post(app, picture(40, (50, 40)))
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    expected = run.transfer(Image.open(io.BytesIO(picture(40, (50, 40)))))
    assert torch.equal(pixels(answer.content), torch.tensor([*expected.tobytes()]))


def test_it_says_what_it_takes_and_its_limits(app, run):
    info = json.loads(asyncio.run(ask(app, "GET", "/v1/info")).content)
    assert info["recipe"] == run.recipe.name and info["size"] == 32 and info["answers"] == ["image/png"]
    assert info["limits"] == {"bytes": 10 * 2**20, "pixels": Image.MAX_IMAGE_PIXELS, "requests": api.MAX_REQUESTS}


@pytest.mark.parametrize(
    ("body", "headers", "status", "fault"),
    [
        (b"words", {}, 400, "the image is not an image that can be read"),
        (b"", {"content_type": "multipart/form-data; boundary=x"}, 415, "Content-Type: image/jpeg"),
        (b"", {"content_type": ""}, 415, "Content-Type: image/jpeg"),
        (bytes(10 * 2**20 + 1), {}, 413, "larger than 10 MB"),
        (picture(1), {"accept": "image/svg+xml"}, 406, "answers image/png, not image/svg"),
        (picture(1), {"origin": "https://evil.example"}, 403, "another site"),
        (picture(1), {"query": "variant=1&size=9"}, 400, "the address takes no options; leave out variant, size"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_one_sentence(app, body, headers, status, fault):
    answer = post(app, body, **headers)
    assert answer.status == status and fault in answer.error and "access-control-allow-origin" not in answer.headers


def test_other_addresses_and_methods_are_refused_in_json(app):
    assert asyncio.run(ask(app, "GET", "/v1/other")).error == "there is nothing at /v1/other"
    assert asyncio.run(ask(app, "GET", "/other")).error == "there is nothing at /other"


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("GET", "/v1/transfer", {"POST"}),
        ("DELETE", "/v1/info", {"GET", "HEAD"}),
        ("GET", "/transfer", {"POST"}),
        ("PUT", "/", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused_with_those_that_the_address_takes(app, method, path, takes):
    answer = asyncio.run(ask(app, method, path))
    assert answer.status == 405 and {word.strip() for word in answer.headers["allow"].split(",")} == takes
    assert answer.error == f"{path} takes {' or '.join(sorted(takes))}, not {method}"


def test_many_requests_at_once_are_batched_and_none_is_lost(run, monkeypatch):
    sizes, shades = [], range(0, 200, 5)
    transfer = run.transfer
    monkeypatch.setattr(run, "transfer", lambda images: sizes.append(len(images)) or transfer(images))
    application = api.create_api(run)

    async def all_at_once():
        jobs = [ask(application, "POST", "/transfer", picture(shade), content_type="image/png") for shade in shades]
        return await asyncio.gather(*jobs)

    answers = asyncio.run(all_at_once())
    assert [answer.status for answer in answers] == [200] * len(shades)
    assert sum(sizes) == len(shades) > len(sizes)
    for shade, answer in zip(shades, answers, strict=True):
        alone = torch.tensor([*transfer(Image.open(io.BytesIO(picture(shade)))).tobytes()])
        assert (pixels(answer.content) - alone).abs().max() <= 1, "another batch size rounds differently"


def test_a_request_too_many_is_told_when_to_come_back(run, monkeypatch):
    monkeypatch.setattr(api, "MAX_REQUESTS", 2)
    application = api.create_api(run)

    async def three():
        gate = asyncio.Event()
        arriving = [
            asyncio.create_task(ask(application, "POST", "/transfer", picture(9), gate=gate, content_type="image/png"))
            for _ in range(2)
        ]
        await asyncio.sleep(0)  # both have begun, and wait for their bodies
        refused = await ask(application, "POST", "/transfer", picture(9), content_type="image/png")
        gate.set()
        return (
            refused,
            await asyncio.gather(*arriving),
            await ask(application, "POST", "/transfer", picture(9), content_type="image/png"),
        )

    refused, arrived, later = asyncio.run(three())
    assert refused.status == 429 and refused.headers["retry-after"] == "1" and "try again in 1 s" in refused.error
    assert [answer.status for answer in (*arrived, later)] == [200] * 3


def test_a_lack_of_memory_is_no_fault_of_the_request(run, monkeypatch):
    def fail(images):
        raise MemoryError

    monkeypatch.setattr(run, "transfer", fail)
    answer = asyncio.run(ask(api.create_api(run), "POST", "/transfer", picture(9), content_type="image/png"))
    assert answer.status == 503 and "not enough memory" in answer.error


def test_with_a_token_only_those_who_know_it_are_answered(app):
    guarded = TokenRequired(app, TOKEN)

    def get(**arguments):
        return asyncio.run(ask(guarded, "GET", "/v1/info", **arguments))

    assert get(authorization=f"Bearer {TOKEN}").status == 200
    for wrong in (
        {},
        {"authorization": "Bearer no"},
        {"authorization": TOKEN},
        {"cookie": "domtrans_token=no"},
        {"query": "token="},
    ):
        answer = get(**wrong)
        assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer" and "token" in answer.error
    opened = asyncio.run(ask(guarded, "GET", "/", query=f"token={TOKEN}"))
    cookie = opened.headers["set-cookie"]
    assert (opened.status, opened.headers["location"]) == (303, "./") and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert asyncio.run(ask(guarded, "GET", "/", cookie=cookie.partition(";")[0])).status == 200


@pytest.mark.parametrize("token", ["", "short", "with spaces in it, and commas"])
def test_a_weak_token_is_refused(token):
    with pytest.raises(DomtransError, match="16 to 256 letters"):
        check_token(token)
