"""Where a turn stands in the rendering of its conversation.

A learned turn begins where the generation prompt ends and goes on to the end of its terminator: the first control token
after the content, or the last one where calls of tools follow it. A template may write a turn otherwise once another
question follows, as those do that leave earlier thoughts out; such a turn is found as it stands in the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from luthier.data.example import Example, Message
from luthier.errors import TemplateError

STAND_IN = "\U0010fffd"
"""A private character that takes a content's place where only what comes before it counts."""


class TurnPlaces:
    """Finds turns in what one template renders; ``text`` renders a conversation's first messages, ``control`` finds
    control tokens."""

    def __init__(self, text: Callable[..., str], control: re.Pattern[str]) -> None:
        self._text, self._control = text, control

    def of(self, example: Example, index: int, full: str, *, generate: bool) -> tuple[int, int, int]:
        """Where the turn's own text begins, where its terminator does and where that ends, in the whole rendering."""
        message = example.messages[index]
        before = self._text(example, index, generate=True) if message.role == "assistant" else None
        before = self._before(example, index) if before is None else before
        through = self._text(example, index + 1)
        if through.startswith(before) and full.startswith(through):
            start = len(before)
            after, stop = self._end(example, index, full[start : len(through)])
            return start, start + after, start + stop
        return self._moved(example, index, full, before, generate=generate)

    def _end(self, example: Example, index: int, body: str) -> tuple[int, int]:
        """Where the terminator begins and ends in a turn's own text; at its end where there is none."""
        message = example.messages[index]
        content = str(message.content.strip())
        if message.tool_calls:
            found = list(self._control.finditer(body))[-1:]
        elif content and body.startswith(content):
            found = list(self._control.finditer(body, len(content)))[:1]
        else:
            # Templates may write control tokens before the content; what follows it is the same behind any content.
            tail = self._behind(example, index)
            found = list(self._control.finditer(body, len(body) - len(tail) if body.endswith(tail) else 0))[:1]
        return found[0].span() if found else (len(body), len(body))

    def _moved(self, example: Example, index: int, full: str, before: str, *, generate: bool) -> tuple[int, int, int]:
        """The turn's places where its rendering depends on the turns after it: around any content it is the same.

        Raises:
            TemplateError: it is not so, and no mask could be right.
        """
        if index == len(example.messages) - 1 and not generate:
            raise _unstable(example, index)
        message = example.messages[index]
        tail = self._around(example, index, _marked(message), full, generate=generate)[1]
        behind = self._behind(example, index)
        content = len(full) - len(tail)
        if not tail.startswith(behind):
            raise _unstable(example, index)
        ends = list(self._control.finditer(behind))
        first, last = ends[-1 if message.tool_calls else 0].span() if ends else (len(behind), len(behind))
        start = self._moved_start(example, index, full, before, content + len(behind), generate=generate)
        if start > content:
            raise _unstable(example, index)
        return start, content + first, content + last

    def _moved_start(self, example: Example, index: int, full: str, before: str, stop: int, *, generate: bool) -> int:
        """Where a turn begins that ends at ``stop``: it is written as it was when it was the last one, or right before
        its content stands what the generation prompt adds, or what that begins with.

        Where that adds nothing, the end of the turn before stands there.
        """
        asked = before.removeprefix(self._text(example, index))
        alone = self._text(example, index + 1)
        start = stop - len(alone.removeprefix(before))
        if alone.startswith(before) and full[:stop].endswith(alone[len(before) :]) and full[:start].endswith(asked):
            return start
        message = replace(example.messages[index], content=STAND_IN)
        head = self._around(example, index, message, full, generate=generate)[0]
        if full.startswith(before) and len(before) <= len(head):
            return len(before)
        leads = [asked[:end] for end in range(1, len(asked) + 1)] or [self._behind(example, index - 1) if index else ""]
        if not any(lead and head.endswith(lead) for lead in leads):
            raise _unstable(example, index)
        return len(head)

    def _around(self, example: Example, index: int, marked: Message, full: str, *, generate: bool) -> tuple[str, str]:
        """What stands before and behind the mark in a turn of the whole rendering.

        A call's result may be written with the name that was called.
        """
        messages = (*example.messages[:index], marked, *example.messages[index + 1 :])
        text = self._text(replace(example, messages=messages), len(messages), generate=generate)
        head, found, tail = text.partition(STAND_IN)
        tail = tail.replace(STAND_IN, _last_name(example.messages[index])) if marked.content != STAND_IN else tail
        if not (found and full.startswith(head) and full.endswith(tail)):
            raise _unstable(example, index)
        return head, tail

    def _behind(self, example: Example, index: int) -> str:
        """What the template writes behind the turn's content, or its last call's name, where no turn follows."""
        messages = (*example.messages[:index], _marked(example.messages[index]))
        _, found, tail = self._text(replace(example, messages=messages), index + 1).rpartition(STAND_IN)
        if not found:
            raise _unstable(example, index)
        return tail

    def _before(self, example: Example, index: int) -> str:
        """The rendering up to the turn's content, which may well read like the words of its own header."""
        message = replace(example.messages[index], content=STAND_IN)
        head, found, _ = self._text(
            replace(example, messages=(*example.messages[:index], message)), index + 1
        ).rpartition(STAND_IN)
        if not found:
            raise _unstable(example, index)
        return head


def _marked(message: Message) -> Message:
    """The turn with a private character for its content, or for the name of its last call."""
    if not message.tool_calls:
        return replace(message, content=STAND_IN)
    *calls, last = message.tool_calls
    function = last.get("function")
    named = {**(function if isinstance(function, dict) else {}), "name": STAND_IN}
    return replace(message, tool_calls=(*calls, {**last, "function": named}))


def _last_name(message: Message) -> str:
    """The name that the turn's last call has."""
    function = message.tool_calls[-1].get("function") if message.tool_calls else None
    return str(function.get("name", "")) if isinstance(function, dict) else ""


def _unstable(example: Example, index: int) -> TemplateError:
    return TemplateError(
        f"rendering turn {index + 1} changes the text before it, so the mask would be a guess",
        place=example.origin,
        remedy="use a template whose rendering only grows with the conversation and whose answers begin as its "
        "generation prompt does (for DeepSeek-R1: deepseek_r1), or set data.last_turn_only",
    )
