"""Rows that were tokenised elsewhere: input_ids, and usually attention_mask and labels."""

from __future__ import annotations

from luthier.data.example import TEXT, Example, Message, Ready, Row, RowFault, missing

IGNORED = -100
"""The label of an id that is not learned."""


def read(row: Row) -> Example:
    """The ids as they are; without labels, all of them are learned. What the attention mask leaves out is padding.

    >>> read(Row("d:1", {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]})).ready
    Ready(ids=(5, 6, 7), trained=(False, True, True))
    """
    ids = _column(row, "input_ids")
    if ids is None:
        raise missing(row, "input_ids")
    labels = _column(row, "labels") or ids
    mask = _column(row, "attention_mask") or [1] * len(ids)
    for name, other in (("labels", labels), ("attention_mask", mask)):
        if len(other) != len(ids):
            raise RowFault(f"has {len(ids)} input_ids and {len(other)} {name}", "write one for each id")
    kept = [place for place, seen in enumerate(mask) if seen]
    if not kept:
        raise RowFault("holds no id that is not padding", "remove the row")
    if kept != list(range(kept[0], kept[-1] + 1)):
        raise RowFault("its attention_mask has a gap", "only padding before or after the ids can be left out")
    for place in kept:
        if labels[place] not in (IGNORED, ids[place]):
            raise RowFault(
                f"label {place + 1} is {labels[place]}, and its id {ids[place]}",
                f"a label is its own id, or {IGNORED}; it is not shifted",
            )
    ready = Ready(tuple(ids[place] for place in kept), tuple(labels[place] != IGNORED for place in kept))
    return Example((Message(TEXT, ""),), row.origin, ready=ready)


def _column(row: Row, name: str) -> list[int] | None:
    value = row.value.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(type(one) is int for one in value):
        raise RowFault(f"column {name!r} is not a list of whole numbers", "write [1, 2, …]")
    if name == "input_ids" and min(value) < 0:
        raise RowFault(f"column {name!r} holds the negative id {min(value)}", "ids count from 0")
    return value
