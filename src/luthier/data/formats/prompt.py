"""A prompt of one's own around one question and its answer, in the place of a chat template."""

from __future__ import annotations

import re

from luthier.data.example import Example, Message, Piece, RowFault, pieced
from luthier.recipe.prompt_format import PromptFormat

_PLACE = re.compile(r"\{(instruction|input|system|output)\}")


def with_prompt(example: Example, prompt: PromptFormat) -> Example:
    """The example as two pieces of text: what comes before the answer, and the answer; of a pair, both answers.

    Each piece is tokenised by itself, the tokenizer's own prefix comes first and its end token last.

    Raises:
        RowFault: the example is not one question and one answer.
    """
    pieces = _pieces(example, example.messages, prompt)
    worse = _pieces(example, example.rejected, prompt) if example.rejected else ()
    return pieced(
        pieces,
        example.origin,
        framed=True,
        extra=example.extra,
        label=example.label,
        rejected_pieces=worse,
        rejected=pieced(worse, example.origin).messages if worse else (),
    )


def _pieces(example: Example, messages: tuple[Message, ...], prompt: PromptFormat) -> tuple[Piece, ...]:
    system = messages[0].content if messages[0].role == "system" else prompt.system
    turns = messages[1:] if messages[0].role == "system" else messages
    if [message.role for message in turns] != ["user", "assistant"]:
        found = ", ".join(message.role for message in turns)
        raise RowFault(
            f"a prompt format takes one question and one answer, and its turns are {found}",
            "leave the source's prompt out, and name a chat template in data.template",
        )
    question, answer = turns
    given = str(example.extra.get("input", ""))
    text = question.content.removesuffix(f"\n\n{given}") if given else question.content
    form = prompt.format if given or prompt.no_input_format is None else prompt.no_input_format
    before = (prompt.system_format if system else "") + form
    values = {"instruction": text, "input": given, "system": system or ""}
    return (
        _filled(before, values, "user", question.trained),
        _filled(prompt.answer, {"output": answer.content}, "assistant", answer.trained),
    )


def _filled(form: str, values: dict[str, str], role: str, trained: bool | None) -> Piece:
    text, ranges, done = "", [], 0
    for place in _PLACE.finditer(form):
        text += form[done : place.start()]
        value = values.get(place[1], place[0])
        ranges.append((len(text), len(text) + len(value)))
        text += value
        done = place.end()
    return Piece(text + form[done:], role, trained, tuple(one for one in ranges if one[0] < one[1]))
