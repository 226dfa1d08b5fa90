"""A model hub on this machine: the part of Hugging Face's HTTP API that uploading and downloading a model uses."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHub:
    """Repositories in memory.

    Attributes:
        commits: ``{(repository, branch or commit): {file: content}}``.
        tokens: The tokens of all requests; empty text for a request without one.
    """

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.tokens: set[str] = set()
        self.downloaded: list[str] = []
        self.url = ""

    def commit(self, repository: str, branch: str, files: dict[str, bytes]) -> str:
        """Add files to a branch; returns the new commit."""
        content = {**self.commits.get((repository, branch), {}), **files}
        commit = hashlib.sha1(repr(sorted(content)).encode() + b"".join(content.values()), usedforsecurity=False).hexdigest()
        self.commits[repository, branch] = self.commits[repository, commit] = content
        return commit

    def commit_of(self, repository: str, revision: str) -> str | None:
        """The commit of a branch or commit; None if there is none."""
        content = self.commits.get((repository, revision))
        names = (name for (one, name), files in self.commits.items() if one == repository and files == content)
        return None if content is None else next(name for name in names if re.fullmatch("[0-9a-f]{40}", name))


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A block in which the hub answers at its ``url``."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Be quiet."""

        def answer(self, status: int, body: object = b"", **headers: str) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

        def do_POST(self) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            hub.tokens.add(token)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif not token:
                self.refuse(401, "Unauthorized")
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                new = (name, "main") not in hub.commits
                hub.private.setdefault(name, bool(asked.get("private")))
                hub.commits.setdefault((name, "main"), {})
                self.answer(200 if new else 409, {"url": f"{hub.url}/{name}"})
            elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/branch/(.+)", self.path):
                hub.commits.setdefault((found[1], found[2]), {})
                self.answer(201, {})
            elif re.fullmatch(r"/api/models/[\w.-]+/[\w.-]+/preupload/[^/]+", self.path):
                files = json.loads(body)["files"]
                self.answer(
                    200, {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}
                )
            elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/commit/([^/?]+)(\?.*)?", self.path):
                lines = [json.loads(line) for line in body.splitlines()]
                files = {
                    line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
                }
                commit = hub.commit(found[1], found[2], files)
                self.answer(200, {"success": True, "commitOid": commit, "commitUrl": f"{hub.url}/{found[1]}/commit/{commit}"})
            else:
                self.answer(404, {"error": f"the fake hub has no {self.path}"})

        def do_GET(self) -> None:
            hub.tokens.add(self.headers.get("Authorization", "").removeprefix("Bearer "))
            if found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+?)(?:/revision/([^/?]+))?(?:\?.*)?", self.path):
                commit = hub.commit_of(found[1], found[2] or "main")
                if commit is None:
                    self.refuse(404, "RevisionNotFound" if (found[1], "main") in hub.commits else "RepoNotFound")
                    return
                files = [{"rfilename": name} for name in sorted(hub.commits[found[1], commit])]
                self.answer(200, {"id": found[1], "modelId": found[1], "sha": commit, "siblings": files, "private": False})
            elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/tree/([^/?]+)(?:\?.*)?", self.path):
                content = hub.commits.get((found[1], found[2]))
                if content is None:
                    self.refuse(404, "RevisionNotFound")
                    return
                oids = {name: hashlib.sha1(data, usedforsecurity=False).hexdigest() for name, data in content.items()}
                files = [{"type": "file", "path": name, "size": len(content[name]), "oid": oid} for name, oid in oids.items()]
                self.answer(200, files)
            elif found := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", self.path):
                commit = hub.commit_of(found[1], found[2])
                content = hub.commits[found[1], commit].get(found[3]) if commit else None
                if commit is None or content is None:
                    self.refuse(404, "EntryNotFound")
                    return
                if self.command == "GET":
                    hub.downloaded.append(found[3])
                self.answer(200, content, ETag=f'"{hashlib.sha256(content).hexdigest()}"', X_Repo_Commit=commit)
            else:
                self.answer(404, {"error": f"the fake hub has no {self.path}"})

        do_HEAD = do_GET  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()
