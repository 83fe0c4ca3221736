"""Replies as OpenAI's chat completions: whole, or as a stream of chunks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import torch

from luthier.recipe.evaluate import Generation
from luthier.serve.request import Request
from luthier.use.conversation import Reply, Speaker


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to be made: its name, and the head that all its messages share."""

    model: str
    request: Request
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        """A piece of a stream."""
        return {
            **self._head("chat.completion.chunk"),
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }

    def whole(self, reply: Reply) -> dict[str, Any]:
        """The answer at once."""
        message = {"role": "assistant", "content": reply.text}
        choice = {"index": 0, "message": message, "finish_reason": reply.reason, "logprobs": None}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage(reply)}

    def usage(self, reply: Reply) -> dict[str, Any]:
        """What ends a stream whose client asked what was used."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(reply)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage(reply: Reply) -> dict[str, int]:
    """Tokens asked and answered."""
    asked, said = reply.prompt_tokens, reply.tokens
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def pieces(
    speaker: Speaker, prompt: list[int], request: Request, usual: Generation, *, adapter: bool = True
) -> Generator[str | Reply]:
    """Pieces of the answer up to the first of the request's stops, and the whole of it last."""
    stops, over = request.stops, Event()
    if request.seed is not None:
        torch.manual_seed(request.seed)
    longest = max(map(len, stops), default=1) - 1
    text, said = "", 0
    with closing(speaker.reply(prompt, request.generation(usual), adapter=adapter, stopped=over)) as stream:
        for piece in stream:
            if isinstance(piece, Reply):
                yield from _rest(text, said)
                yield Reply(text, piece.reason, piece.prompt_tokens, piece.tokens)
                return
            text += piece
            places = [place for place in (text.find(stop, max(0, said - longest)) for stop in stops) if place >= 0]
            if places:
                over.set()
                last = next(one for one in stream if isinstance(one, Reply))
                yield from _rest(text[: min(places)], said)
                yield Reply(text[: min(places)], "stop", last.prompt_tokens, last.tokens)
                return
            sure = max(said, len(text) - longest)
            yield from _rest(text[:sure], said)
            said = sure


def _rest(text: str, said: int) -> Iterator[str]:
    if text[said:]:
        yield text[said:]
