"""Example -> spans: which text a conversation becomes, and which part of it is learned.

Masks go by position, never by token id; turn_places.py tells where a turn begins and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.jinja import Render, compile_template
from luthier.data.literal import Literals, pattern_of
from luthier.data.skeleton import Gap, Skeletons, gaps_of
from luthier.data.span import Span
from luthier.data.turn_jinja import format_of
from luthier.data.turn_places import TurnPlaces
from luthier.data.turn_render import TurnTemplate
from luthier.errors import TemplateError

_CALL = {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": {}}}


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
        self._places = TurnPlaces(self._text, self._control)
        self._skeletons: dict[tuple[str, ...], Skeletons] = {}
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
        """The spans of a whole conversation. Where the template's own text is learned, all of it is.

        Raises:
            TemplateError: the rendering of a conversation does not begin with that of its own beginning, so that no
                mask could be right.
        """
        example = self._with_system(example)
        spans = self._render_spans(example, self._trained(example.messages), generate=False)
        return [replace(span, trained=True) for span in spans] if "template" in self._train_on else spans

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

    def gaps(self, roles: Sequence[str], turn_ends: tuple[str, ...] = ()) -> list[Gap] | None:
        """What all plain conversations of these roles share, their contents left open; None if that is not told so."""
        if "template" in self._train_on:
            return None
        example = Example(tuple(Message(role, "") for role in roles), "", turn_ends=turn_ends)
        trained = self._trained(example.messages)
        if self._turns is None:
            return self._skeletons_of(turn_ends).gaps(example, trained)
        form = self._turns.form
        if form.input_heading or form.system_with_input is not None:
            return None
        return gaps_of(partial(self._turns.spans, generate=False), example, trained, stripped=form.strip)

    def terminator(self) -> str | None:
        """The control token that ends an answer, or None when the template has none."""
        return next(iter(self.terminators()), None)

    def terminators(self) -> tuple[str, ...]:
        """All control tokens that end an answer; most templates have one."""
        if self._turns is not None:
            return self._turns.terminators()
        found = [self._end_of(Message("assistant", "b", trained=True))]
        with suppress(TemplateError):
            # A turn that calls tools may end in a token of its own.
            found.append(self._end_of(Message("assistant", "", True, (_CALL,))))
        return tuple(dict.fromkeys(end for end in found if end))

    def _end_of(self, answer: Message) -> str:
        """The control token that ends an answer, or nothing."""
        probe = Example((Message("user", "a"), answer), "data.template")
        turn = next(span.text for span in self.spans(probe) if span.trained)
        ends = self._control.findall(turn)
        return str(ends[-1]) if ends and turn.endswith(ends[-1]) else ""

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
        skeletons = self._skeletons_of(example.turn_ends)
        quick = skeletons.spans(example, trained, generate=generate) if example.ends == "turn" else None
        return self._cut(example, trained, generate=generate) if quick is None else quick

    def _skeletons_of(self, turn_ends: tuple[str, ...]) -> Skeletons:
        """Those of conversations whose turns end so."""
        if turn_ends not in self._skeletons:
            self._skeletons[turn_ends] = Skeletons(self.source, self._cut, self._control)
        return self._skeletons[turn_ends]

    def _counts(self, terminator: str, example: Example) -> bool:
        """Whether a turn's terminator is one that the rows want learned."""
        return not example.turn_ends or terminator in [self._tokens.get(end, end) for end in example.turn_ends]

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
        self._whole(example, full, trained, generate=generate)
        spans: list[Span] = []
        done = 0
        last = max((index for index, flag in enumerate(trained) if flag), default=-1)
        for index in range(len(hidden.messages)):
            if not trained[index] and example.ends != "all":
                continue
            start, body, stop = self._places.of(hidden, index, full, generate=generate)
            ended = trained[index] if example.ends == "turn" else example.ends == "all"
            ended = (ended or (example.ends == "last" and index == last)) and self._counts(full[body:stop], example)
            spans.append(Span(full[done:start], trained=False))
            if trained[index] == ended:
                spans.append(Span(full[start:stop], trained=ended))
            else:
                spans += [Span(full[start:body], trained[index]), Span(full[body:stop], ended)]
            done = stop
        spans.append(Span(full[done:], trained=False))
        return [Span(text, span.trained, literal) for span in spans for text, literal in literals.pieces(span.text)]

    def _whole(self, example: Example, full: str, trained: Sequence[bool], *, generate: bool) -> None:
        """Refuse a conversation of which the template leaves something out that is to be read or learned.

        ``full`` is its rendering, but for control tokens in the data. Earlier thoughts may be left out.
        """
        last = len(example.messages) - 1
        messages = example.messages
        without: list[tuple[str, Example]] = []
        if example.tools:
            without.append(("the tools", replace(example, tools=())))
        if any(message.tool_calls for message in messages):
            calling = tuple(replace(message, tool_calls=()) for message in messages)
            without.append(("the calls of tools", replace(example, messages=calling)))
        if trained[last] and messages[last].thought:
            silent = replace(messages[last], fields={})
            without.append(("the thought of the last turn", replace(example, messages=(*messages[:last], silent))))
        for what, less in without:
            hidden = Literals.of(example, self._control).hide(less)
            try:
                same = self._text(hidden, len(messages), generate=generate) == full
            except TemplateError:
                same = False
            if same:
                raise TemplateError(
                    f"the template leaves out {what}",
                    place=example.origin,
                    remedy="use a template that writes them, such as qwen3, or take them out of the row",
                )

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
