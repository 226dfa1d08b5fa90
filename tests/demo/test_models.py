"""The demo without a run: a page of all models that come with domtrans, and a demo of each that is loaded on demand."""

import asyncio
import base64
import io
import json

import pytest
from PIL import Image

from domtrans import DomtransError, list_models, load, pack
from domtrans.pretrained import models
from tiny import registry, tiny_recipe
from tiny_runs import go

pytest.importorskip("starlette", reason="the extra domtrans[demo] is not installed")
from domtrans.demo.models import create_models_app


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The application with two models, and the names of those that were loaded."""
    root = tmp_path_factory.mktemp("models")
    run = go(tiny_recipe(root, metrics__digits="none"), root / "run")
    for name in ("one", "two"):
        pack(run, root / "shipped" / name, licence="mit")
    patch, loaded = pytest.MonkeyPatch(), []
    patch.setattr(models, "FOLDER", root / "shipped")

    def load_model(name):
        loaded.append(name)
        return load(name, device="cpu", registry=registry())

    yield create_models_app(list_models(), load_model, hosts=["localhost"]), loaded
    patch.undo()


def ask(app, path, body=None, host="localhost"):
    """Status and content of a request."""
    sent = []
    content = b"" if body is None else json.dumps(body).encode()
    headers = [(b"host", host.encode()), (b"content-type", b"application/json")]

    async def receive():
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "GET" if body is None else "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "headers": headers, "scheme": "http", "server": ("localhost", 80),
        "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


def test_the_page_lists_the_models_and_loads_none(app):
    application, loaded = app
    status, page = ask(application, "/")
    assert status == 200 and 'href="one/"' in page and 'href="two/"' in page and "Licence of the weights: mit" in page
    assert page.count("data:image/png;base64,") == 2 and not loaded


def test_a_model_is_loaded_once_and_has_a_demo_of_its_own(app):
    application, loaded = app
    status, page = ask(application, "/two/")
    assert status == 200 and '<a href="../">all models</a>' in page and loaded == ["models:two"]
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 40, 30)).save(file, "PNG")
    status, answer = ask(application, "/two/transfer", {"images": [base64.b64encode(file.getvalue()).decode()]})
    assert status == 200 and json.loads(answer)["output"] and loaded == ["models:two"]


def test_other_pages_and_foreign_host_names_are_refused(app):
    application, _ = app
    assert ask(application, "/three/")[0] == 404
    assert ask(application, "/", host="evil.example")[0] == ask(application, "/one/", host="evil.example")[0] == 400


def test_a_model_that_cannot_be_loaded_is_said_in_a_sentence(app):
    def fail(name):
        raise DomtransError(f"{name} is damaged")

    broken = create_models_app(list_models(), fail, hosts=["localhost"])
    status, answer = ask(broken, "/one/v1/info")
    assert status == 503 and json.loads(answer) == {"error": "models:one is damaged"}
