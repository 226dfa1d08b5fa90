"""``domtrans demo`` without a run: a page of the models that come with domtrans, each with a demo of its own."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from domtrans.demo.app import CONTENT_SECURITY_POLICY, create_app
from domtrans.demo.demo import Demo
from domtrans.demo.refusals import refuse
from domtrans.errors import DomtransError
from domtrans.pretrained.models import PREFIX, PretrainedModel
from domtrans.runs.run import Run

GRID_FILE = "samples.png"
"""The sample grid of a packed run."""


class DemoOnDemand:
    """The demo of one model, as a web application that loads the model with the first request.

    Args:
        load: Loads the run.
        hosts: Host names that it answers to.
    """

    def __init__(self, load: Callable[[], Run], hosts: Sequence[str]) -> None:
        self.load, self.hosts = load, hosts
        self.lock = threading.Lock()
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            app = await run_in_threadpool(self.start)
        except DomtransError as error:
            app = JSONResponse({"error": str(error)}, 503)
        await app(scope, receive, send)

    def start(self) -> ASGIApp:
        """The application, which the first caller makes."""
        with self.lock:
            self.app = self.app or create_app(Demo(self.load()), hosts=self.hosts, home="../")
            return self.app


def create_models_app(models: Sequence[PretrainedModel], load: Callable[[str], Run], *, hosts: Sequence[str]) -> Starlette:
    """Create the web application: ``/`` lists the models, and ``/NAME/`` is the demo of one.

    Args:
        models: The models.
        load: Loads the run of a name such as ``models:digits-dtn``.
        hosts: Host names that it answers to.
    """
    loader = ChoiceLoader([PackageLoader("domtrans.demo"), PackageLoader("domtrans.reporting")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    cards = [
        {
            "path": model.name.removeprefix(PREFIX),
            "description": model.description,
            "licence": model.licence,
            "grid": base64.b64encode((model.folder / GRID_FILE).read_bytes()).decode(),
        }
        for model in models
    ]

    def show_models(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY.format(nonce), "Cache-Control": "no-store"}
        return HTMLResponse(environment.get_template("models.html").render(models=cards, nonce=nonce), headers=headers)

    routes: list[BaseRoute] = [Route("/", show_models)]
    for model in models:
        routes.append(Mount(f"/{model.name.removeprefix(PREFIX)}", DemoOnDemand(partial(load, model.name), hosts)))
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: refuse},
    )
