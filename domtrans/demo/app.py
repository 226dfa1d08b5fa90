"""The demo as a web application: a page, and addresses that transfer images and draw. It stores nothing that it receives."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, TypeVar

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from domtrans.demo.api import create_api
from domtrans.demo.bodies import MAX_IMAGE_BYTES, TOO_LARGE, read_body, refuse_other_sites
from domtrans.demo.demo import Demo
from domtrans.demo.refusals import refuse
from domtrans.errors import DomtransError

MAX_BODY_BYTES = 2 * MAX_IMAGE_BYTES * 4 // 3 + 10_000
"""Two images in base64."""
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src data: blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page may load only what it contains."""
Form = TypeVar("Form", bound=BaseModel)


class DrawRequest(BaseModel):
    """The body of a request; see ``Demo.draw``."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, str]


class TransferRequest(BaseModel):
    """The body of a request; see ``Demo.transfer``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    images: Annotated[list[Base64Bytes], Field(min_length=1, max_length=2)]
    blend: Annotated[float, Field(ge=0, le=1)] = 0.0
    strength: Annotated[float, Field(ge=0, le=2)] = 1.0


def create_app(demo: Demo, *, hosts: Sequence[str], home: str = "") -> Starlette:
    """Create the web application.

    Args:
        demo: What it shows.
        hosts: Host names that it answers to. With any other, a website could reach it through a DNS name of its own.
        home: Address of the page that lists all demos, if there is one.
    """
    loader = ChoiceLoader([PackageLoader("domtrans.demo"), PackageLoader("domtrans.reporting")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["slot_label"] = slot_label

    def show_page(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        values = {"demo": demo, "recipe": demo.run.recipe, "max_bytes": MAX_IMAGE_BYTES, "nonce": nonce, "home": home}
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY.format(nonce), "Cache-Control": "no-store"}
        return HTMLResponse(environment.get_template("demo.html").render(values), headers=headers)

    async def transfer(request: Request) -> Response:
        try:
            given = await _read_request(request, TransferRequest)
            if max(map(len, given.images)) > MAX_IMAGE_BYTES:
                raise HTTPException(413, TOO_LARGE)
            result = await run_in_threadpool(demo.transfer, given.images, blend=given.blend, strength=given.strength)
        except HTTPException as error:
            return JSONResponse({"error": error.detail}, error.status_code)
        except DomtransError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(asdict(result))

    async def draw(request: Request) -> Response:
        try:
            given = await _read_request(request, DrawRequest)
            result = await run_in_threadpool(demo.draw, given.parameters)
        except HTTPException as error:
            return JSONResponse({"error": error.detail}, error.status_code)
        except DomtransError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(asdict(result))

    routes: list[BaseRoute] = [Route("/", show_page), Route("/transfer", transfer, methods=["POST"])]
    routes.append(Mount("/v1", create_api(demo.run)))
    if demo.slots:
        routes.append(Route("/draw", draw, methods=["POST"]))
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: refuse},
    )


def slot_label(name: str) -> str:
    """The name of a slot as words: "facialHairColor" is "facial hair color"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower()


async def _read_request(request: Request, form: type[Form]) -> Form:
    """The checked request. Raises HTTPException if it is refused."""
    refuse_other_sites(request)
    # Browsers ask before they send this type from another site (a preflight request), and this application refuses.
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(415, "images are sent as JSON")
    body = await read_body(request, MAX_BODY_BYTES)
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(400, f"the request is invalid: {error.errors(include_url=False)[0]['msg']}") from None
