"""Access by a token, for a demo that other machines can reach."""

from __future__ import annotations

import re
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from domtrans.errors import DomtransError

COOKIE = "domtrans_token"
TOKEN_FORM = re.compile(r"[A-Za-z0-9_-]{16,256}")
"""Characters that need no escape in an address."""


def check_token(token: str) -> None:
    """Raise DomtransError if a token is easy to guess or cannot be part of an address."""
    if not TOKEN_FORM.fullmatch(token):
        raise DomtransError("the token must have 16 to 256 letters, digits, '-' or '_'; make one with: openssl rand -hex 16")


class TokenRequired:
    """ASGI middleware that answers only those who know the token.

    Programs send it as ``Authorization: Bearer TOKEN``. A browser opens ``/?token=TOKEN`` once and keeps it in a cookie, which
    it sends only from the demo's own pages.

    Args:
        app: The application.
        token: The token.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = Headers(scope=scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if (scheme.lower() == "bearer" and self._is_token(given)) or self._is_token(_cookie(headers)):
            await self.app(scope, receive, send)
            return
        (asked,) = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[:1]
        if scope.get("method") == "GET" and self._is_token(asked):
            redirect = RedirectResponse("./", 303, {"Cache-Control": "no-store"})
            redirect.set_cookie(COOKIE, asked, httponly=True, samesite="strict")
            await redirect(scope, receive, send)
            return
        sentence = "the token is missing or wrong; send it as Authorization: Bearer TOKEN, or open /?token=TOKEN in a browser"
        await JSONResponse({"error": sentence}, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _is_token(self, given: str) -> bool:
        """Compare in constant time, which tells nothing about the token."""
        return secrets.compare_digest(given.encode(), self.token)


def _cookie(headers: Headers) -> str:
    """The token in the cookie; empty without one."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
