"""``domtrans demo``: a page on this machine to try a run with one's own pictures. It asks no other machine for anything."""

from __future__ import annotations

import errno
import socket

from domtrans.demo.demo import Demo
from domtrans.errors import DomtransError
from domtrans.optional import require_extra

PORT = 7860
TRIED = 20
"""Ports that are tried, from the one that was asked for."""
LOOPBACK = ("127.0.0.1", "localhost")


def listen(host: str = LOOPBACK[0], port: int = PORT) -> socket.socket:
    """A socket that listens at the port, or at the next of 20 that is free; 0 is any that is free.

    Raises DomtransError if there is none, the host is not this machine's, or the extra "demo" is not installed.
    """
    for module in ("starlette", "uvicorn"):
        require_extra(module, "demo", "the demo")
    last = min(port + TRIED, 2**16) - 1
    for candidate in range(port, last + 1):
        try:
            family = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, candidate), family=family)
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) != errno.EADDRINUSE:
                reason = getattr(error, "strerror", None) or error
                raise DomtransError(
                    f"the demo cannot listen at {host}, port {candidate} ({reason}); leave out --host, or choose another --port"
                ) from None
    raise DomtransError(f"all ports from {port} to {last} are taken; choose another with --port")


def address(listening: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": LOOPBACK[0], "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(demo: Demo, listening: socket.socket) -> None:
    """Answer at the socket until the process is asked to end; at a loopback address, only who asks for it by that name."""
    import uvicorn

    from domtrans.demo.app import application

    host = listening.getsockname()[0]
    local = host in (LOOPBACK[0], "::1")
    app = application(demo, hosts=[*LOOPBACK, "[::1]"] if local else ["*"])
    config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([listening])
