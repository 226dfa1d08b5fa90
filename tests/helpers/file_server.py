"""A local HTTP server that serves the files of a folder by byte ranges, and remembers what it sent."""

from __future__ import annotations

import hashlib
import html
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit


class FileServer(ThreadingHTTPServer):
    """Serves a folder. Tests read and set its attributes while it runs."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.sent: dict[str, int] = {}
        """Bytes of content that were sent, by path."""
        self.ranges = True
        """Whether it answers requests for parts."""
        self.broken = 0
        """Requests for content that it will cut off."""
        self.status: int | None = None
        """The answer to every request, instead of a file."""
        self.headers: list[dict[str, str]] = []
        """The headers of every request."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections break on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, *, with_content: bool) -> None:
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        path = self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if self.server.status is not None or not path.exists():
            self.send_error(self.server.status or 404)
            return
        if path.is_dir():
            links = (f'<a href="{quote(p.name)}{"/" * p.is_dir()}">{html.escape(p.name)}</a>' for p in sorted(path.iterdir()))
            content, kind = "\n".join(links).encode(), "text/html"
        else:
            content, kind = path.read_bytes(), "application/octet-stream"
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.server.ranges else None
        body = content[int(part[1]) : int(part[2]) + 1] if part else content
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {part[1]}-{part[2]}/{len(content)}")
        for name, value in {"Content-Type": kind, "Content-Length": len(body), "ETag": etag}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if not with_content:
            return
        if self.server.broken and path.is_file():
            self.server.broken -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)
        self.server.sent[self.path] = self.server.sent.get(self.path, 0) + len(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[FileServer]:
    """Run the server in a thread for the length of the block."""
    server = FileServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
