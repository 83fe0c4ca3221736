"""The HTTP side: routes, who may ask, one answer at a time."""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from luthier.errors import LuthierError
from luthier.recipe.evaluate import Generation
from luthier.serve.completion import Completion, pieces
from luthier.serve.request import BadRequest, request_of
from luthier.use.conversation import Reply, Speaker

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LARGEST = 16 << 20
"""Bytes of the largest request."""


class Service:
    """A model, its name, and what clients may do; under ``NAME:base`` it answers without its adapter."""

    def __init__(self, speaker: Speaker, name: str, usual: Generation, key: str | None = None) -> None:
        self.speaker, self.name, self.usual = speaker, name, usual
        self.base = f"{name}:base"
        self._key = key
        self._turn = anyio.Lock()

    async def models(self, request: HttpRequest) -> Response:
        """``GET /v1/models``."""
        if not self._allowed(request):
            return _denied()
        names = [self.name, *([self.base] if self.speaker.has_adapter else [])]
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "luthier"} for name in names]
        return JSONResponse({"object": "list", "data": models})

    async def health(self, request: HttpRequest) -> Response:
        """``GET /health``: the model is loaded."""
        return JSONResponse({"status": "ok"})

    async def complete(self, http: HttpRequest) -> Response:
        """``POST /v1/chat/completions``."""
        if not self._allowed(http):
            return _denied()
        try:
            request = request_of(await _body(http))
            messages = [turn.message() for turn in request.messages]
            prompt = await run_sync(self.speaker.prompt, messages, request.tools or [])
            self.speaker.room(prompt)
        except BadRequest as error:
            return _refused(str(error), error.field)
        except LuthierError as error:
            return _refused("; ".join(f"{fault.reason} ({fault.remedy})" for fault in error.faults), "messages")
        bare = request.model == self.base and self.speaker.has_adapter
        answer = Completion(self.base if bare else self.name, request)
        work = pieces(self.speaker, prompt, request, self.usual, adapter=not bare)
        if request.stream:
            return StreamingResponse(self._stream(answer, work), media_type="text/event-stream")
        async with self._turn:
            reply = await run_sync(_last, work)
        return JSONResponse(answer.whole(reply))

    async def _stream(self, answer: Completion, work: Generator[str | Reply]) -> AsyncIterator[str]:
        async with self._turn, aclosing(_chunks(answer, work)) as chunks:
            async for chunk in chunks:
                yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        yield "data: [DONE]\n\n"

    def _allowed(self, request: HttpRequest) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self._key is None or hmac.compare_digest(given.encode(), self._key.encode())


async def _chunks(answer: Completion, work: Generator[str | Reply]) -> AsyncGenerator[dict[str, Any]]:
    yield answer.chunk({"role": "assistant", "content": ""})
    try:
        while (piece := await run_sync(next, work, None)) is not None:
            if not isinstance(piece, Reply):
                yield answer.chunk({"content": piece})
                continue
            yield answer.chunk({}, piece.reason)
            options = answer.request.stream_options
            if options and options.include_usage:
                yield answer.usage(piece)
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(work.close)


def _last(work: Generator[str | Reply]) -> Reply:
    return next(piece for piece in work if isinstance(piece, Reply))


async def _body(request: HttpRequest) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise BadRequest(f"the body is larger than {LARGEST >> 20} MB")
    return bytes(body)


def _refused(reason: str, field: str | None) -> Response:
    error = {"message": reason, "type": "invalid_request_error", "param": field, "code": None}
    return JSONResponse({"error": error}, status_code=400)


def _denied() -> Response:
    error = {"message": "the API key is missing or wrong", "type": "authentication_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status_code=401, headers={"WWW-Authenticate": "Bearer"})


def application(service: Service, host: str) -> ASGIApp:
    """The ASGI application. On a loopback address it answers to loopback names alone, so that no page in a browser can
    reach it through a name of its own."""
    own = ["localhost", "127.0.0.1", host]
    return Starlette(
        routes=[
            Route("/v1/models", service.models),
            Route("/v1/chat/completions", service.complete, methods=["POST"]),
            Route("/health", service.health),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=own if is_loopback(host) else ["*"])],
    )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
