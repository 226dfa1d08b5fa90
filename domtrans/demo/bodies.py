"""The body of a request: read up to a limit, and refused if another site's page sent it."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MAX_IMAGE_BYTES = 10 * 2**20
TOO_LARGE = f"the image file is larger than {MAX_IMAGE_BYTES // 2**20} MB"
BODY_SECONDS = 60
"""A body that takes longer to arrive is refused, because it keeps the place of another request."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises HTTPException if it is larger than ``max_bytes``, incomplete or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise HTTPException(413, TOO_LARGE)
    except ClientDisconnect:
        raise HTTPException(400, "the request is incomplete") from None
    except TimeoutError:
        raise HTTPException(408, f"the request took longer than {BODY_SECONDS} s to arrive") from None
    return bytes(body)


def refuse_other_sites(request: Request) -> None:
    """Raise HTTPException if a browser says that another site's page sent the request.

    Programs other than browsers send no origin.
    """
    origin, host = request.headers.get("origin"), request.headers.get("host")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        raise HTTPException(403, "this request comes from the page of another site")
