"""The demo as a web application: one page, and one address that transfers. Nothing of what is sent in is kept."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from domtrans.demo.demo import Demo
from domtrans.errors import DomtransError

LARGEST = 10 * 2**20
"""Bytes of a picture's file."""
BODY = 2 * LARGEST * 4 // 3 + 10_000
"""Bytes of a request: two pictures in base64."""
POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src data: blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: what came with it, and nothing from anywhere else."""


class Asked(BaseModel):
    """What the page sends; see ``Demo.transfer``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    pictures: Annotated[list[Base64Bytes], Field(min_length=1, max_length=2)]
    blend: Annotated[float, Field(ge=0, le=1)] = 0.0
    strength: Annotated[float, Field(ge=0, le=2)] = 1.0


def application(demo: Demo, *, hosts: Sequence[str]) -> Starlette:
    """The page and its one address. ``hosts``: names under which it answers; a stranger's page cannot borrow another."""
    loader = ChoiceLoader([PackageLoader("domtrans.demo"), PackageLoader("domtrans.reporting")])
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)

    def show(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = page.get_template("demo.html").render(demo=demo, recipe=demo.run.recipe, largest=LARGEST, nonce=nonce)
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY.format(nonce), "Cache-Control": "no-store"})

    async def transfer(request: Request) -> Response:
        # A page of another site can send this type only after asking, which is refused.
        if request.headers.get("content-type") != "application/json":
            return _refusal(415, "pictures are sent as JSON")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY:
                return _refusal(413, f"a picture's file may have {LARGEST // 2**20} MB")
        try:
            asked = Asked.model_validate_json(bytes(body))
        except ValidationError as error:
            return _refusal(400, f"this cannot be transferred: {error.errors(include_url=False)[0]['msg']}")
        if max(map(len, asked.pictures)) > LARGEST:
            return _refusal(413, f"a picture's file may have {LARGEST // 2**20} MB")
        try:
            look = await run_in_threadpool(demo.transfer, asked.pictures, blend=asked.blend, strength=asked.strength)
        except DomtransError as error:
            return _refusal(400, str(error))
        return JSONResponse(asdict(look))

    routes = [Route("/", show), Route("/transfer", transfer, methods=["POST"])]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))])


def _refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
