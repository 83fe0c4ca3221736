"""A small hub on this machine: as much of its API as making, filling and reading a repository needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.serving import serving

TOKEN = "hf_loopbackSecretTokenOfNobody"


def blob_of(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """What the server holds, and how it misbehaves: ``wrong`` names a part of a path that it answers 500 to, ``slow``
    one that it answers only when it is told to, ``damage`` a file of which it keeps other bytes."""

    url: str = ""
    private: dict[str, bool | None] = field(default_factory=dict)
    branches: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    wrong: str = ""
    slow: str = ""
    damage: str = ""
    go_on: threading.Event = field(default_factory=threading.Event)

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        return self.branches[name, branch]

    def at(self, name: str, revision: str) -> dict[str, bytes]:
        return self.commits[revision] if revision in self.commits else self.branches[name, revision]

    def entry(self, path: str, data: bytes) -> dict[str, Any]:
        sha = hashlib.sha256(data).hexdigest()
        large = {"lfs": {"oid": sha, "size": len(data), "pointerSize": 1}} if sha in self.large else {}
        return {"type": "file", "path": path, "size": len(data), "oid": blob_of(data), **large}


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, value: Any, status: int = 200, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, one in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), one)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self) -> None:
        self._handle(b"")

    def do_HEAD(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_PUT(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        self._handle(data)

    def _handle(self, body: bytes) -> None:
        hub, place = self.hub, urlsplit(self.path)
        hub.asked.append(f"{self.command} {place.path}")
        if hub.slow and hub.slow in place.path:
            hub.go_on.wait(60)
        if hub.wrong and hub.wrong in place.path:
            return self._answer({"error": f"broken for {self.headers.get('Authorization')}"}, 400)
        if place.path.startswith("/objects/"):
            assert hashlib.sha256(body).hexdigest() == place.path.removeprefix("/objects/")
            hub.objects[place.path.removeprefix("/objects/")] = body
            return self._answer({})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials"}, 401)
        for pattern, method in ROUTES:
            found = re.fullmatch(pattern, place.path)
            if found:
                return getattr(self, method)(body, *map(unquote, found.groups()))
        return self._answer({"error": f"no such place: {place.path}"}, 404)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'somebody'}/{asked['name']}"
        url = f"{self.hub.url}/{name}"
        if (name, "main") in self.hub.branches:
            return self._answer({"url": url, "error": "You already created this model repo"}, 409)
        seen = asked.get("visibility")  # what recent clients send instead of private
        self.hub.private[name] = asked.get("private") if seen is None else seen == "private"
        self.hub.branches[name, "main"] = {}
        return self._answer({"url": url, "name": name})

    def validate(self, body: bytes) -> None:
        _, front, _ = json.loads(body)["content"].split("---\n", 2)
        wrong = [] if isinstance(yaml.safe_load(front), dict) else [{"message": "no mapping"}]
        self._answer({"errors": wrong, "warnings": []})

    def branch(self, _: bytes, name: str, branch: str) -> None:
        self.hub.branches.setdefault((name, branch), dict(self.hub.branches[name, "main"]))
        self._answer({})

    def preupload(self, body: bytes, name: str, branch: str) -> None:
        there = self.hub.branches[name, branch]
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith((".safetensors", ".model")) else "regular",
                "shouldIgnore": False,
                "oid": blob_of(there[one["path"]]) if one["path"] in there else None,
            }
            for one in json.loads(body)["files"]
        ]
        self._answer({"files": files})

    def batch(self, body: bytes, name: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/objects/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def commit(self, body: bytes, name: str, branch: str) -> None:
        files = dict(self.hub.branches[name, branch])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.hub.objects[value["oid"]]
                self.hub.large.add(value["oid"])
        if self.hub.damage in files:
            files[self.hub.damage] += b" "
        oid = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        self.hub.branches[name, branch] = self.hub.commits[oid] = files
        self._answer({"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid})

    def paths(self, body: bytes, name: str, revision: str) -> None:
        files = self.hub.at(name, revision)
        self._answer([self.hub.entry(one, files[one]) for one in parse_qs(body.decode())["paths"] if one in files])

    def tree(self, _: bytes, name: str, revision: str) -> None:
        self._answer([self.hub.entry(path, data) for path, data in self.hub.at(name, revision).items()])

    def resolve(self, _: bytes, name: str, revision: str, path: str) -> None:
        data = self.hub.at(name, revision)[path]
        self._answer(data, ETag=f'"{blob_of(data)}"', X_Repo_Commit=revision)


ROUTES = (
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "validate"),
    (r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", "branch"),
    (r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
    (r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
    (r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)", "paths"),
    (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", "tree"),
    (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
)


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    with serving(type("Bound", (Handler,), {"hub": hub})) as hub.url:
        try:
            yield hub
        finally:
            hub.go_on.set()
