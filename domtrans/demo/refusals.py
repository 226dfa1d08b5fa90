"""The answer to a request that no address takes: JSON with one sentence, ``{"error": SENTENCE}``."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


async def refuse(request: Request, error: Exception) -> Response:
    """Say what is wrong with a request. Status 429 and its like are refusals, too."""
    assert isinstance(error, HTTPException)
    sentence, headers = error.detail, dict(error.headers or {})
    if error.status_code == 405:
        # A HEAD request is answered as GET. RFC 9110, section 15.5.6, asks for the header Allow, which starlette sets.
        methods = " or ".join(sorted(method.strip() for method in headers["Allow"].split(",")))
        sentence = f"{request.url.path} takes {methods}, not {request.method}"
    elif error.status_code == 404:
        sentence = f"there is nothing at {request.url.path}"
    return JSONResponse({"error": sentence}, error.status_code, headers)
