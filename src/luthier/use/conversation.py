"""Talking with a saved result: a history, a reply that arrives piece by piece, the adapter on or off."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Event
from typing import Any

import torch

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.errors import ModelError
from luthier.evaluate.generate import generate, positions_of, prompt_ids, stop_ids
from luthier.model.alone import base_alone
from luthier.recipe.evaluate import Generation
from luthier.use.result import Result

UNFINISHED = "�"
"""What the bytes of a character decode to while some of them are still to come."""


class Decoder:
    """Ids that arrive one by one -> text, in pieces that end where characters do."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._ids, self._said = encoder, list[int](), 0

    def add(self, ids: Sequence[int]) -> str:
        """The text that is complete with these ids, beyond what was given before."""
        self._ids.extend(ids)
        return self._rest(self._encoder.decode(self._ids).rstrip(UNFINISHED))

    def end(self) -> str:
        """What is left, complete or not."""
        return self._rest(self._encoder.decode(self._ids))

    def _rest(self, text: str) -> str:
        new = text[self._said :]
        self._said = max(self._said, len(text))
        return new


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its text, why it ended (``stop`` or ``length``), and its tokens."""

    text: str
    reason: str
    prompt_tokens: int
    tokens: int


class Speaker:
    """A result behind its chat template: conversations in, replies out. One reply is made at a time.

    Args:
        template: the template's name; None goes on from plain text (``go_on``).

    Raises:
        TemplateError: the model has no chat template, and none is named.
    """

    def __init__(self, result: Result, template: str | None = "auto") -> None:
        encoder = result.encoder
        self.result = result
        self._chat = None if template is None else ChatTemplate(template_source(template, encoder), encoder)
        self._stops = stop_ids(self._chat, encoder)

    def go_on(self, text: str) -> list[int]:
        """The ids of a text that the model is to go on from."""
        encoder = self.result.encoder
        return [*encoder.prefix, *encoder.encode([text])[0]]

    def prompt(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """The ids before the reply: those that the same conversation has in training.

        Raises:
            TemplateError: the template cannot carry such a conversation.
        """
        assert self._chat is not None, "a speaker of plain text has no conversations"
        example = Example(tuple(messages), "the conversation", tools=tuple(tools))
        return prompt_ids(example, self._chat, self.result.encoder)

    def room(self, prompt: Sequence[int]) -> int:
        """How many tokens the model has positions for beyond a prompt.

        Raises:
            ModelError: for none at all.
        """
        longest = positions_of(self.result.model)
        if len(prompt) >= longest:
            raise ModelError(
                f"the conversation has {len(prompt):,} tokens, and the model positions for {longest:,}",
                place="the conversation",
                remedy="begin a new one, or leave out its first turns",
            )
        return longest - len(prompt)

    def reply(
        self, prompt: Sequence[int], settings: Generation, *, adapter: bool = True, stopped: Event | None = None
    ) -> Generator[str | Reply]:
        """Pieces of text as they come, and the whole reply last; ``stopped`` ends it early.

        Beams come to an end together, so that their reply is one piece.

        Raises:
            ModelError: the prompt leaves no room for an answer.
        """
        longest = min(settings.max_new_tokens, self.room(prompt))
        settings = settings.model_copy(update={"max_new_tokens": longest})
        over = stopped or Event()
        if settings.beams > 1:
            yield from self._at_once(prompt, settings, adapter, over)
            return
        pieces: SimpleQueue[int | None] = SimpleQueue()
        decoder, ids, said = Decoder(self.result.encoder), list[int](), ""
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(self._work, prompt, settings, adapter, _heard(pieces, over))
            work.add_done_callback(lambda _: pieces.put(None))
            try:
                while (new := pieces.get()) is not None:
                    ids.append(new)
                    text = "" if new in self._stops else decoder.add([new])
                    said += text
                    if text:
                        yield text
            finally:
                over.set()
            work.result()
        rest = decoder.end()
        if rest:
            yield rest
        ended = len(ids) < longest or ids[-1] in self._stops
        yield Reply(said + rest, "stop" if ended else "length", len(prompt), len(ids))

    def all(self, prompts: Sequence[Sequence[int]], settings: Generation, *, adapter: bool = True) -> list[str]:
        """The replies to several prompts, made in batches."""
        pad = self.result.encoder.id_of("pad_token") or 0
        with self._adapter(adapter):
            answers = generate(self.result.model, prompts, settings, stops=self._stops, pad=pad)
        return [self.result.encoder.decode(ids) for ids in answers]

    def _at_once(
        self, prompt: Sequence[int], settings: Generation, adapter: bool, over: Event
    ) -> Generator[str | Reply]:
        ids = self._work(prompt, settings, adapter, lambda _: over.is_set())
        text = self.result.encoder.decode(ids)
        if text:
            yield text
        yield Reply(text, "length" if len(ids) == settings.max_new_tokens else "stop", len(prompt), len(ids))

    def _work(
        self, prompt: Sequence[int], settings: Generation, adapter: bool, heard: Callable[[torch.Tensor], bool]
    ) -> list[int]:
        pad = self.result.encoder.id_of("pad_token") or 0
        with self._adapter(adapter):
            return generate(self.result.model, [prompt], settings, stops=self._stops, pad=pad, heard=heard)[0]

    def _adapter(self, on: bool) -> AbstractContextManager[object]:
        return nullcontext() if on or not self.has_adapter else base_alone(self.result.model)

    @property
    def has_adapter(self) -> bool:
        """Whether there is an adapter to switch off."""
        return hasattr(self.result.model, "disable_adapter")


def _heard(pieces: SimpleQueue[int | None], over: Event) -> Callable[[torch.Tensor], bool]:
    def heard(ids: torch.Tensor) -> bool:
        pieces.put(int(ids[0, -1]))
        return over.is_set()

    return heard


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said so far, and how replies are made. A value: each change gives another."""

    messages: tuple[Message, ...] = ()
    settings: Generation = field(default_factory=Generation)
    adapter: bool = True

    def with_system(self, text: str) -> Conversation:
        """With another system prompt, or none where the text is empty; what was said stays."""
        rest = tuple(message for message in self.messages if message.role != "system")
        return replace(self, messages=(Message("system", text), *rest) if text else rest)

    def said(self, role: str, text: str) -> Conversation:
        """With one more turn."""
        return replace(self, messages=(*self.messages, Message(role, text)))

    def cleared(self) -> Conversation:
        """With the system prompt alone."""
        return replace(self, messages=tuple(message for message in self.messages if message.role == "system"))

    def without_last(self) -> Conversation:
        """Without the last question and what was answered to it."""
        places = [index for index, message in enumerate(self.messages) if message.role == "user"]
        return replace(self, messages=self.messages[: places[-1]]) if places else self
