"""Example -> spans: which text a conversation becomes, and which part of it is learned.

Masks go by position, never by token id: a trained turn begins where the generation prompt ends and goes on to the
end of its terminator: the first control token after the content, or the last one where calls of tools follow it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.jinja import Render, compile_template
from luthier.data.literal import Literals, pattern_of
from luthier.data.skeleton import Skeletons
from luthier.data.span import Span
from luthier.data.turn_format import formats
from luthier.data.turn_jinja import format_of, jinja_of
from luthier.data.turn_render import TurnTemplate
from luthier.errors import TemplateError, nearest

__all__ = ["ChatTemplate", "Span", "missing_tokens", "template_names", "template_source", "text_spans"]

FOLDER = Path(__file__).parent / "templates"

_LISTED = re.compile(r"\{#- control:(.*?)-#\}")
_LIKELY = re.compile(r"<\|[^|<>{}\s'\"]+\|>")
_STAND_IN = "\U0010fffd"
"""A private character that takes a content's place where only what comes before it counts."""


def template_source(name: str, encoder: Encoder) -> str:
    """The Jinja text behind ``data.template``.

    Raises:
        TemplateError: an unknown name, a missing file, or ``auto`` where the tokenizer has no template.
    """
    if name == "auto":
        if encoder.chat_template is None:
            raise TemplateError(
                "the tokenizer has no chat template", place="data.template", remedy=f"name one: {_named()}"
            )
        return encoder.chat_template
    if name in formats():
        return jinja_of(formats()[name], encoder)
    path = FOLDER / f"{name}.jinja" if "/" not in name and "." not in name else Path(name)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        near = nearest(name, template_names())
        remedy = f"did you mean {near}?" if near else f"name a .jinja file or one of: {_named()}"
        raise TemplateError(f"{name!r} is not a chat template", place="data.template", remedy=remedy) from error


def template_names() -> list[str]:
    """The names that ``data.template`` knows, besides ``auto`` and files."""
    return sorted({*formats(), *(path.stem for path in FOLDER.glob("*.jinja"))})


def _named() -> str:
    ours = [name for name in template_names() if "/" not in name]
    return ", ".join([*ours, "firefly/ and a name of Firefly's"])


def missing_tokens(name: str, encoder: Encoder) -> list[str]:
    """The control tokens of a template that the tokenizer does not know, so that it reads them as ordinary text.

    ``eos_token`` stands for an end token that the template writes and the tokenizer does not have. Of a template that
    is not ours, only tokens of the form ``<|name|>`` are found.

    Raises:
        TemplateError: there is no such template.
    """
    source = template_source(name, encoder)
    form, listed = format_of(source, encoder), _LISTED.search(source)
    if form is not None:
        wanted = list(form.control)
    else:
        wanted = listed[1].split() if listed else list(dict.fromkeys(_LIKELY.findall(source)))
    missing = [token for token in wanted if not _is_one(token, encoder)]
    return [*missing, "eos_token"] if "eos_token" in source and encoder.id_of("eos_token") is None else missing


def _is_one(token: str, encoder: Encoder) -> bool:
    return encoder.encode([token]) == [[encoder.tokenizer.token_to_id(token)]]


def text_spans(example: Example) -> list[Span]:
    """The spans of a plain document: all of it is learned."""
    return [Span(message.content, trained=True, literal=True) for message in example.messages]


class ChatTemplate:
    """Renders conversations and finds the trained spans in them."""

    def __init__(
        self,
        source: str,
        encoder: Encoder,
        *,
        train_on: Sequence[str] = ("assistant",),
        system: str | None = None,
        last_turn_only: bool = False,
    ) -> None:
        self.source = source
        self._render: Render = compile_template(source)
        self._tokens = {"bos_token": "", "eos_token": "", **encoder.tokens}
        self._control = pattern_of(encoder.control)
        self._skeletons = Skeletons(source, self._cut, self._control)
        self._train_on = frozenset(train_on)
        self._system = system
        self._last_turn_only = last_turn_only
        form = format_of(source, encoder)
        self._turns = None if form is None else TurnTemplate(form, encoder)
        if system and form is not None and not form.takes_system:
            raise TemplateError(
                f"{form.name} has no place for a system message",
                place="data.system",
                remedy="leave it out, or use another template",
            )

    def spans(self, example: Example) -> list[Span]:
        """The spans of a whole conversation.

        Raises:
            TemplateError: the rendering of a conversation does not begin with that of its own beginning, so that no
                mask could be right.
        """
        example = self._with_system(example)
        return self._render_spans(example, self._trained(example.messages), generate=False)

    def prompt(self, example: Example) -> list[Span]:
        """The spans that come before the last turn's content when it has to be generated.

        They are cut at the same places as in ``spans``, so that their ids begin the training ids.
        """
        example = self._with_system(example)
        trained = self._trained(example.messages)
        if example.messages[-1].role == "assistant":
            example = replace(example, messages=example.messages[:-1])
            trained = trained[:-1]
        return [replace(span, trained=False) for span in self._render_spans(example, trained, generate=True)]

    def terminator(self) -> str | None:
        """The control token that ends an answer, or None when the template has none."""
        return next(iter(self.terminators()), None)

    def terminators(self) -> tuple[str, ...]:
        """All control tokens that end an answer; most templates have one."""
        if self._turns is not None:
            return self._turns.terminators()
        probe = Example((Message("user", "a"), Message("assistant", "b", trained=True)), "data.template")
        turn = next(span.text for span in self.spans(probe) if span.trained)
        ends = self._control.findall(turn)
        return (ends[-1],) if ends and turn.endswith(ends[-1]) else ()

    def _with_system(self, example: Example) -> Example:
        if self._system and example.messages[0].role != "system":
            return replace(example, messages=(Message("system", self._system), *example.messages))
        return example

    def _trained(self, messages: Sequence[Message]) -> list[bool]:
        flags = [m.role in self._train_on if m.trained is None else m.trained for m in messages]
        if self._last_turn_only and any(flags):
            last = max(index for index, flag in enumerate(flags) if flag)
            flags = [index == last for index in range(len(flags))]
        return flags

    def _render_spans(self, example: Example, trained: Sequence[bool], *, generate: bool) -> list[Span]:
        if self._turns is not None:
            return self._turns.spans(example, trained, generate=generate)
        quick = self._skeletons.spans(example, trained, generate=generate)
        return self._cut(example, trained, generate=generate) if quick is None else quick

    def _cut(self, example: Example, trained: Sequence[bool], *, generate: bool) -> list[Span]:
        """The rendering, cut around every trained turn."""
        literals = Literals.of(example, self._control)
        hidden = literals.hide(example)
        full = self._text(hidden, len(hidden.messages), generate=generate)
        if literals.marks and literals.shown(full) != self._text(example, len(example.messages), generate=generate):
            raise TemplateError(
                "the template rewrites a control token that stands in the text, so it could not be kept as text",
                place=example.origin,
                remedy="remove the token from the row, or use another template",
            )
        spans: list[Span] = []
        done = 0
        for index in range(len(hidden.messages)):
            if trained[index]:
                start, stop = self._turn(hidden, index, full)
                spans += [Span(full[done:start], trained=False), Span(full[start:stop], trained=True)]
                done = stop
        spans.append(Span(full[done:], trained=False))
        return [Span(text, span.trained, literal) for span in spans for text, literal in literals.pieces(span.text)]

    def _text(self, example: Example, count: int, *, generate: bool = False) -> str:
        """The rendering of the first ``count`` messages."""
        try:
            return self._render(
                messages=[message.tree() for message in example.messages[:count]],
                tools=list(example.tools) or None,
                documents=None,
                add_generation_prompt=generate,
                **self._tokens,
            )
        except TemplateError as error:
            raise TemplateError(str(error), place=example.origin, remedy="change the row or data.template") from error

    def _turn(self, example: Example, index: int, full: str) -> tuple[int, int]:
        """Where the turn's own text begins and where its terminator ends, in the rendering of the whole."""
        message = example.messages[index]
        if message.role == "assistant":
            before = self._text(example, index, generate=True)
        else:
            before = self._before(example, index)
        through = self._text(example, index + 1)
        if not through.startswith(before) or not full.startswith(through):
            raise _unstable(example, index)
        start = len(before)
        body = full[start : len(through)]
        if message.tool_calls:
            ends = [token.end() for token in self._control.finditer(body)][-1:]
        else:
            ends = [token.end() for token in self._control.finditer(body, self._head(example, index, start, body))][:1]
        return start, start + (ends[0] if ends else len(body))

    def _head(self, example: Example, index: int, start: int, body: str) -> int:
        """How much of a turn's own text comes before its content; templates may write control tokens there."""
        content = example.messages[index].content.strip()
        if content and body.startswith(content):
            return 0
        head = self._before(example, index)[start:]
        return len(head) if body.startswith(head) else 0

    def _before(self, example: Example, index: int) -> str:
        """The rendering up to the turn's content, which may well read like the words of its own header."""
        message = replace(example.messages[index], content=_STAND_IN)
        head, found, _ = self._text(
            replace(example, messages=(*example.messages[:index], message)), index + 1
        ).rpartition(_STAND_IN)
        if not found:
            raise _unstable(example, index)
        return head


def _unstable(example: Example, index: int) -> TemplateError:
    return TemplateError(
        f"rendering turn {index + 1} changes the text before it, so the mask would be a guess",
        place=example.origin,
        remedy="use a template whose rendering only grows with the conversation, or set data.last_turn_only",
    )
