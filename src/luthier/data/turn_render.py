"""Conversation -> spans for a turn format: every piece of a turn is tokenised apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from luthier.data.encoder import Encoder
from luthier.data.example import Ends, Example, Message
from luthier.data.literal import pattern_of
from luthier.data.span import Span
from luthier.data.turn_format import PLACES, TurnFormat
from luthier.data.turn_jinja import prefix_of
from luthier.errors import TemplateError


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn's pieces, the texts that fill them, whether it is learned, and whether what ends it is.

    ``control``: control tokens in those texts are what they say.
    """

    pieces: tuple[str, ...]
    values: Mapping[str, str]
    trained: bool
    ended: bool = False
    control: bool = False


class TurnTemplate:
    """Renders conversations in one turn format for one tokenizer."""

    def __init__(self, form: TurnFormat, encoder: Encoder) -> None:
        self.form = form
        self._fixed = {
            "eos": encoder.tokens.get("eos_token", ""),
            "bos": encoder.tokens.get("bos_token", ""),
            "prefix": prefix_of(encoder),
        }
        self._control = pattern_of(encoder.control)
        self._ends = pattern_of(self.terminators())

    def spans(self, example: Example, trained: Sequence[bool], *, generate: bool) -> list[Span]:
        """The spans of a conversation; ``trained`` [messages], ``generate``: an answer of the assistant is to follow.

        Raises:
            TemplateError: the format has no place for a turn, or for tools.
        """
        self._check(example)
        counted = [self._fixed.get(end.removesuffix("_token"), end) for end in example.turn_ends]
        spans = [span for piece in self.form.begin for span in self._piece(piece, {}, trained=False)]
        before = False
        for turn in self._turns(example, trained):
            for piece in turn.pieces[: self.form.header]:
                learned = before and (not counted or self._text(piece, turn.values) in counted)
                spans += self._piece(piece, turn.values, trained=learned, control=turn.control)
            if self.form.header:
                for piece in turn.pieces[self.form.header :]:
                    spans += self._piece(piece, turn.values, trained=turn.trained, control=turn.control)
            else:
                spans += self._whole_turn(turn, counted)
            before = turn.ended
        for piece in self.form.assistant[: self.form.header] if generate else self.form.end:
            spans += self._piece(piece, {}, trained=before and (not counted or self._text(piece, {}) in counted))
        return spans

    def _whole_turn(self, turn: _Turn, counted: Sequence[str]) -> Iterator[Span]:
        """A turn with its own end: all of a learned one, what its format writes behind the end included; where the end
        is learned or left out by itself, the spans are cut there."""
        spans = [
            list(self._piece(piece, turn.values, trained=turn.trained, control=turn.control)) for piece in turn.pieces
        ]
        at = next((number for number, piece in enumerate(turn.pieces) if "{content}" in piece), len(turn.pieces))
        tails = [self._text(piece.rpartition("{content}")[2], {}) for piece in turn.pieces[at:]]
        found = next(
            ((at + n, len(tail), end) for n, tail in enumerate(tails) if (end := self._ends.search(tail))), None
        )
        ended = turn.ended and (found is None or not counted or found[2][0] in counted)
        if found is None or ended == turn.trained:
            yield from (span for some in spans for span in some)
            return
        number, tail, end = found
        yield from (span for some in spans[:number] for span in some)
        *firsts, last = spans[number]
        yield from firsts
        begin, stop = (len(last.text) - tail + place for place in end.span())
        parts = ((last.text[:begin], turn.trained), (last.text[begin:stop], ended), (last.text[stop:], False))
        apart = last.apart
        for text, learned in parts:
            if text:
                yield replace(last, text=text, trained=learned, apart=apart)
                apart = False
        yield from (replace(span, trained=False) for some in spans[number + 1 :] for span in some)

    def terminators(self) -> tuple[str, ...]:
        """The control tokens that end an answer."""
        texts = [self._text(stop, {}) for stop in self.form.stops]
        return tuple(text for text in texts if text and self._control.fullmatch(text))

    def _check(self, example: Example) -> None:
        form = self.form
        remedy = "change the row or data.template"
        if example.tools and form.tools is None:
            raise TemplateError(f"{form.name} has no place for tools", place=example.origin, remedy=remedy)
        due = "user"
        for number, message in enumerate(example.messages, 1):
            if message.role not in form.roles:
                reason = f"{form.name} has no place for the role {message.role!r} (turn {number})"
                raise TemplateError(reason, place=example.origin, remedy=remedy)
            if message.tool_calls and not form.call:
                reason = f"{form.name} has no place for the calls of turn {number}"
                raise TemplateError(reason, place=example.origin, remedy=remedy)
            if message.thought:
                reason = f"{form.name} has no place for the thought of turn {number}"
                raise TemplateError(reason, place=example.origin, remedy=remedy)
            if form.header or (message.role == "system" and number == 1):
                continue
            if message.role != due:
                reason = f"{form.name} alternates questions and answers, and turn {number} is the {message.role}'s"
                raise TemplateError(reason, place=example.origin, remedy=remedy)
            due = "assistant" if due == "user" else "user"

    def _turns(self, example: Example, trained: Sequence[bool]) -> Iterator[_Turn]:
        form = self.form
        if example.tools and form.tools is not None:
            yield _Turn(form.system, {"content": form.tools + self._listed(example.tools)}, trained=False)
        messages = self._with_input(example)
        system = self._system(messages)
        if messages[0].role != "system" and system is not None and not form.folds_system:
            yield _Turn(form.system, {"content": system}, trained=False)
        index = 0
        ended = _ended(example.ends, trained)
        for message, flag, end in zip(messages, trained, ended, strict=True):
            content = message.content.strip() if form.strip else message.content
            if message.role == "system" and form.folds_system:
                continue
            if message.role == "user":
                index += 1
            folded = (system or "") if index == 1 else ""
            if content or not message.tool_calls:
                values = {"content": content, "index": str(index), "system": folded}
                yield _Turn(form.roles[message.role], values, flag, end, example.control)
            for call in message.tool_calls:
                yield _Turn(form.assistant, self._called(call, example.origin), flag, end, example.control)

    def _with_input(self, example: Example) -> tuple[Message, ...]:
        """The messages, with the format's heading between a question and the input that the row had for it."""
        given = example.extra.get("input")
        messages = example.messages
        if not (self.form.input_heading and given):
            return messages
        first = next((i for i, message in enumerate(messages) if message.role == "user"), len(messages))
        if first == len(messages) or not messages[first].content.endswith(f"\n\n{given}"):
            return messages
        asked = messages[first].content.removesuffix(f"\n\n{given}")
        changed = Message("user", f"{asked}{self.form.input_heading}{given}", messages[first].trained)
        return (*messages[:first], changed, *messages[first + 1 :])

    def _system(self, messages: Sequence[Message]) -> str | None:
        if messages[0].role == "system":
            return messages[0].content
        first = next((message.content for message in messages if message.role == "user"), "")
        if self.form.system_with_input is not None and self.form.input_heading in first:
            return self.form.system_with_input
        return self.form.default_system

    def _listed(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """The tools as the format lists them."""
        if not self.form.tool_entry:
            return json.dumps(list(tools), indent=4, ensure_ascii=False)
        functions = [tool.get("function") or tool for tool in tools]
        return "".join(
            self.form.tool_entry.replace("{name}", str(function.get("name", ""))).replace(
                "{json}", json.dumps(function, indent=4, ensure_ascii=False)
            )
            for function in functions
        )

    def _called(self, call: Mapping[str, object], origin: str) -> dict[str, str]:
        """A call of a tool, written as a call in Python, or its arguments as JSON."""
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(arguments, dict):
            raise TemplateError(
                "a call has no function with arguments by name",
                place=origin,
                remedy='write {"function": {"name": …, "arguments": {…}}}',
            )
        if self.form.json_calls:
            written = json.dumps(arguments, ensure_ascii=False)
        else:
            written = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        return {"name": str(function.get("name", "")), "content": written.join(self.form.call)}

    def _piece(self, piece: str, values: Mapping[str, str], *, trained: bool, control: bool = False) -> Iterator[Span]:
        """One piece, apart from what is before it unless they are joined; a control token that a message holds is a
        literal span in it, but where ``control`` tokens are what they say."""
        apart = not self.form.joined
        if control:
            text = self._text(piece, values)
            yield from [Span(text, trained, apart=apart)] if text else []
            return
        parts = PLACES.split(piece)
        own = "".join(self._fixed.get(part, "") if odd else part for odd, part in _numbered(parts))
        if apart and not self._control.search(own):
            text = self._text(piece, values)
            yield from [Span(text, trained, literal=True, apart=True)] if text else []
            return
        texts: list[tuple[str, bool]] = [("", False)]
        for odd, part in _numbered(parts):
            if not odd or part in self._fixed:
                texts[-1] = (texts[-1][0] + (self._fixed[part] if odd else part), False)
                continue
            for number, found in enumerate(re.split(f"({self._control.pattern})", values.get(part, ""))):
                if number % 2:
                    texts += [(found, True), ("", False)]
                else:
                    texts[-1] = (texts[-1][0] + found, False)
        filled = [(text, literal) for text, literal in texts if text]
        for number, (text, literal) in enumerate(filled):
            yield Span(text, trained, literal, apart=apart and number == 0)

    def _text(self, piece: str, values: Mapping[str, str]) -> str:
        filled = {**values, **self._fixed}
        return PLACES.sub(lambda place: filled.get(place[1], ""), piece)


def _ended(ends: Ends, trained: Sequence[bool]) -> list[bool]:
    """Whether each message's end is to be learned."""
    if ends in ("turn", "all"):
        return [ends == "all" or flag for flag in trained]
    last = max((index for index, flag in enumerate(trained) if flag), default=-1)
    return [ends == "last" and index == last for index in range(len(trained))]


def _numbered(parts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each part of a split piece, and 1 for the names of places, 0 for text."""
    return ((number % 2, part) for number, part in enumerate(parts))
