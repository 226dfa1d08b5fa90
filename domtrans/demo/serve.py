"""The demo's web server. It listens on this machine and never contacts another one."""

from __future__ import annotations

import errno
import socket
from typing import Any

from domtrans.errors import DomtransError
from domtrans.optional import require_extra

DEFAULT_PORT = 7860
MAX_PORTS = 20
"""Ports to try, starting with the one that was asked for."""
LOOPBACK_HOSTS = ("127.0.0.1", "localhost")
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""For an address that stands for all of the machine's: the loopback address that reaches it."""


def listen(host: str = LOOPBACK_HOSTS[0], port: int = DEFAULT_PORT) -> socket.socket:
    """Open a listening socket at the port, or at the next free one.

    Args:
        host: The address or host name to listen at.
        port: The port; 0 is any free port.

    Raises:
        DomtransError: If none of 20 ports is free, the host is not this machine, or the extra "demo" is not installed.
    """
    for module in ("starlette", "uvicorn"):
        require_extra(module, "demo", "the demo")
    last = min(port + MAX_PORTS, 2**16) - 1
    for candidate in range(port, last + 1):
        try:
            family = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, candidate), family=family)
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) != errno.EADDRINUSE:
                reason = getattr(error, "strerror", None) or error
                raise DomtransError(
                    f"the demo cannot listen at {host}, port {candidate} ({reason}); omit --host, or choose another --port"
                ) from None
    raise DomtransError(f"the ports from {port} to {last} are all in use; choose another with --port")


def browser_address(listening: socket.socket) -> str:
    """The URL of the page for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def host_names(listening: socket.socket) -> list[str]:
    """The host names that a server at this address answers to: at a loopback address, only those of the loopback."""
    is_local = listening.getsockname()[0] in (LOOPBACK_HOSTS[0], "::1")
    return [*LOOPBACK_HOSTS, "[::1]"] if is_local else ["*"]


def serve(app: Any, listening: socket.socket) -> None:
    """Answer requests with an ASGI application until the process is interrupted."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([listening])
