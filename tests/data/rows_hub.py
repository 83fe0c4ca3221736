"""A hub on this machine that holds datasets, as far as reading them asks it; it counts the bytes that it gives."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.serving import serving

NAME = "owner/rows"


def _hash(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@dataclass
class RowsHub:
    """The files of its one dataset, and what has been asked of it."""

    files: dict[str, bytes]
    url: str = ""
    given: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        return _hash(b"".join(name.encode() + data[:1000] for name, data in sorted(self.files.items())))

    def entry(self, path: str) -> dict[str, Any]:
        data = self.files[path]
        return {"type": "file", "path": path, "size": len(data), "oid": _hash(data[:1000])}

    def listed(self, folder: str) -> list[dict[str, Any]]:
        """What lies in a folder, itself."""
        inside = sorted(
            {folder + name.removeprefix(folder).split("/")[0] for name in self.files if name.startswith(folder)}
        )
        return [
            self.entry(path) if path in self.files else {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}
            for path in inside
        ]

    def info(self) -> dict[str, Any]:
        siblings = [{"rfilename": name} for name in self.files]
        return {"_id": "1", "id": NAME, "sha": self.commit, "private": False, "tags": [], "siblings": siblings}


class Handler(BaseHTTPRequestHandler):
    hub: RowsHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._handle(self.rfile.read(length))

    def _handle(self, body: bytes = b"") -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {path}")
        if re.fullmatch(rf"/api/datasets/{NAME}(/revision/[^/]+)?", path):
            return self._json(hub.info())
        if listed := re.fullmatch(rf"/api/datasets/{NAME}/tree/[^/]+(?:/(.*))?", path):
            return self._json(hub.listed(f"{listed[1]}/" if listed[1] else ""))
        if re.fullmatch(rf"/api/datasets/{NAME}/paths-info/[^/]+", path):
            wanted = json.loads(body)["paths"] if body.startswith(b"{") else re.findall(r"paths=([^&]+)", body.decode())
            return self._json([hub.entry(one) for one in map(unquote, wanted) if one in hub.files])
        found = re.fullmatch(rf"/datasets/{NAME}/resolve/[^/]+/(.+)", path)
        if found and found[1] in hub.files:
            return self._file(hub.files[found[1]])
        if found:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        return self._json({"error": f"no such place: {path}"}, 404)

    def _json(self, value: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json", "X-Repo-Commit": self.hub.commit, **(more or {})}
        self._send(json.dumps(value).encode(), status, headers)

    def _file(self, data: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        headers = {"ETag": f'"{_hash(data[:1000])}"', "X-Repo-Commit": self.hub.commit}
        if not asked:
            return self._send(data, 200, headers)
        start, stop = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        part = data[start : stop + 1]
        return self._send(part, 206, headers | {"Content-Range": f"bytes {start}-{stop}/{len(data)}"})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.hub.given += len(data)
            try:
                self.wfile.write(data)
            except ConnectionError:
                self.close_connection = True


@contextmanager
def rows_hub(files: dict[str, bytes]) -> Iterator[RowsHub]:
    hub = RowsHub(files)
    with serving(type("Own", (Handler,), {"hub": hub})) as hub.url:
        yield hub
