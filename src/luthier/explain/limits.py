"""A setting's range and default as people read them."""

from __future__ import annotations

import json
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from luthier.explain.labels import say
from luthier.recipe.field import Every, Part

_SIGNS = (
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Ge, "ge", "≥"),
    (annotated_types.Lt, "lt", "<"),
    (annotated_types.Le, "le", "≤"),
)


def default_text(info: FieldInfo, lang: str) -> str:
    """What a recipe means that leaves the setting out."""
    value = info.get_default(call_default_factory=True, validated_data={})
    return say("required", lang) if value is PydanticUndefined else value_text(value, lang)


def value_text(value: Any, lang: str) -> str:
    """A value as a recipe writes it."""
    if value is None:
        return say("unset", lang)
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list | dict) and not value:
        return say("empty", lang)
    if isinstance(value, float) and value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False)


def range_text(info: FieldInfo, lang: str) -> str:
    """What the setting takes: its type or its words, and its bounds.

    >>> from luthier.recipe.batch import Batch
    >>> range_text(Batch.model_fields["world"], "en")
    'whole number > 0 | unset'
    """
    parts = get_args(info.annotation) if get_origin(info.annotation) in (Union, UnionType) else (info.annotation,)
    shared = [key for key, kind in (("every", Every), ("part", Part)) if get_args(kind)[1] in info.metadata]
    kinds = [say(shared[0], lang)] if shared else [_kind(part, lang) for part in parts if part is not type(None)]
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in info.metadata
        for kind, name, sign in _SIGNS
        if isinstance(rule, kind)
    ]
    text = " ".join([" | ".join(dict.fromkeys(kinds)), ", ".join(bounds)]).strip()
    return f"{text} | {say('unset', lang)}" if type(None) in parts else text


def _kind(part: Any, lang: str) -> str:
    origin = get_origin(part)
    if origin is Literal:
        return " | ".join(map(str, get_args(part)))
    if origin is Annotated:
        return _kind(get_args(part)[0], lang)
    if origin is tuple:
        inner = get_args(part)[0]
        return say("list", lang) + (f" ({_kind(inner, lang)})" if get_origin(inner) is Literal else "")
    if origin is dict:
        return say("mapping", lang)
    if part is bool:
        return "true | false"
    return say({int: "integer", float: "number", str: "text"}.get(part, "any"), lang)


def choices(info: FieldInfo) -> tuple[str, ...]:
    """The words that a setting takes, where it takes only certain words."""
    pending, found = [info.annotation], []
    while pending:
        one: Any = pending.pop()
        if get_origin(one) is Literal:
            found += [word for word in get_args(one) if isinstance(word, str)]
        elif get_origin(one) is not None:
            pending += get_args(one)
    return tuple(found)


def is_number(info: FieldInfo) -> bool:
    """Whether it is raised and lowered."""
    kinds = get_args(info.annotation) or (info.annotation,)
    return any(kind in (int, float) for kind in kinds)


def is_switch(info: FieldInfo) -> bool:
    """Whether it is turned on and off."""
    return bool in (get_args(info.annotation) or (info.annotation,))
