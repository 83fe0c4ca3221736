"""Rows of answers that are judged: a better and a worse one (DPO, ORPO, reward models), or single ones (KTO)."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import Any

from luthier.data.example import Example, Message, Row, RowFault, missing
from luthier.data.formats.messages import LISTS, with_system
from luthier.data.formats.turns import messages_of, objects

PROMPTS = ("prompt", *LISTS, "input", "question", "instruction")
CHOSEN = ("chosen", "chosen_response")
REJECTED = ("rejected", "rejected_response")

_TURNS = 'write text, or [{"role": "user", "content": "…"}, …]'


def pairs(row: Row) -> Example:
    """The prompt with the chosen answer, and the prompt with the rejected one.

    Each answer is a text, a turn, or the turns of the whole conversation; those that are, share their first turns.

    >>> example = pairs(Row("d:1", {"prompt": "Who?", "chosen": "Mira.", "rejected": "Dunno."}))
    >>> [message.content for message in example.rejected]
    ['Who?', 'Dunno.']
    """
    better, worse = _conversation(row, CHOSEN), _conversation(row, REJECTED)
    shared = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(better, worse, strict=False)))
    if not shared:
        raise RowFault("its chosen and its rejected conversation share no turn", "let both begin with the prompt")
    if min(len(better), len(worse)) == shared and better != worse:
        raise RowFault("one of its answers is the beginning of the other", "let each end in an answer of its own")
    margin = row.value.get("margin")
    return Example(
        better, row.origin, tools=_tools(row), rejected=worse, extra={} if margin is None else {"margin": margin}
    )


def labelled(row: Row) -> Example:
    """One answer (completion) and whether it is wanted (label).

    >>> labelled(Row("d:1", {"prompt": "Who?", "completion": "Mira.", "label": True})).label
    True
    """
    label = row.value.get("label")
    if label is None:
        raise missing(row, "label")
    if label not in (True, False):
        raise RowFault(f"column 'label' holds {label!r}", "write true or false")
    return Example(_conversation(row, ("completion",)), row.origin, tools=_tools(row), label=bool(label))


def completion(row: Row) -> Example:
    """A prompt and its completion, each a text or turns; answers in the prompt are read and not learned.

    >>> talk = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho."}]
    >>> example = completion(Row("d:1", {"prompt": [*talk, talk[0]], "completion": "Ho!"}))
    >>> [message.trained for message in example.messages]
    [None, False, None, None]
    """
    messages = _conversation(row, ("completion",))
    own = len(_messages(row.value["completion"], "assistant", "completion"))
    asked = (
        replace(one, trained=False) if one.role == "assistant" and one.trained is None else one
        for one in messages[:-own]
    )
    return Example((*asked, *messages[-own:]), row.origin, tools=_tools(row))


def _conversation(row: Row, answers: tuple[str, ...]) -> tuple[Message, ...]:
    """The prompt and the answer in the first of the columns that is there."""
    name = next((name for name in answers if row.value.get(name) is not None), None)
    if name is None:
        raise missing(row, *answers)
    answer = _messages(row.value[name], "assistant", name)
    if answer[-1].role != "assistant":
        raise RowFault(f"column {name!r} ends in the {answer[-1].role}'s turn", "let it end in an answer")
    if answer[0].role == "assistant":
        asked = next((one for one in PROMPTS if row.value.get(one) is not None), None)
        if asked is None:
            raise missing(row, *PROMPTS)
        answer = (*_messages(row.value[asked], "user", asked), *answer)
    return with_system(row, answer)


def _messages(value: Any, role: str, name: str) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message(role, value),)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise RowFault(f"column {name!r} is neither text nor turns", _TURNS)
    try:
        return messages_of(value)
    except RowFault as fault:
        raise RowFault(f"column {name!r}: {fault.reason}", fault.remedy) from fault


def _tools(row: Row) -> tuple[dict[str, Any], ...]:
    return objects(row.value.get("tools"), "column 'tools'")
