"""Axolotl's keys of a dataset's turns: what their properties and roles are called, and which are learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects.axolotl.data import ALL_ROLES
from luthier.dialects.axolotl.values import flag, found, mapping, names, text, truth
from luthier.dialects.table import Cannot, Effect, Key, Row, Spread, Values, applied, inert

Convert = Callable[[Any, Values], Effect]

_ROLES = {
    "system": ("system",),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "bot", "model"),
    "tool": ("tool", "function", "observation"),
}
_REASONING = "reasoning_content"
_ENDS = ("turn", "all", "last", "none")


def turn_rows(theirs: str, target: str) -> tuple[Row, ...]:
    """The rows of a dataset's turns."""
    learned = ("data.train_on", f"{target}.train_on")
    thought = _thought(theirs, target)
    return (
        Spread(f"{theirs}.message_property_mappings", (f"{target}.turns",), _properties(target), whole=True),
        Key(f"{theirs}.message_field_role", f"{target}.turns.role", text),
        Key(f"{theirs}.message_field_content", f"{target}.turns.content", text),
        Key(f"{theirs}.message_field_training", f"{target}.turns.trained", text),
        Key(
            f"{theirs}.message_field_training_detail",
            f"{target}.turns.trained_parts",
            text,
            note="end_offset is the last character; a part reaches as far as the tokens that it touches",
        ),
        Spread(f"{theirs}.field_thinking", (f"{target}.turns",), thought),
        Spread(f"{theirs}.template_thinking_key", (f"{target}.turns",), thought),
        Spread(f"{theirs}.roles", (f"{target}.roles",), _roles(target), whole=True),
        Key(f"{theirs}.field_human", f"{target}.roles.user", names),
        Key(f"{theirs}.field_model", f"{target}.roles.assistant", names),
        Spread(f"{theirs}.roles_to_train", learned, _train_on(theirs, target)),
        Spread(f"{theirs}.train_on_eos", (f"{target}.train_on_eos",), _ends(theirs, target)),
        Spread(f"{theirs}.train_on_eot", (f"{target}.train_on_eos",), _turn_ends(target)),
        Key(f"{theirs}.drop_system_message", f"{target}.drop_system", flag),
        Key(f"{theirs}.split_thinking", f"{target}.split_thinking", flag),
    )


def _properties(target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        given = mapping(value or {})
        dotted = next((ours for ours in given if "." in ours), None)
        if dotted is not None:
            raise Cannot(f"{dotted} is no property that a template reads", "write a name without dots")
        named = {f"{target}.turns.{ours}": text(theirs) for ours, theirs in given.items()}
        return applied(named) if named else inert("it names nothing")

    return spread


def _only(theirs: str, values: Values, usual: str) -> str:
    """The one value that a key has in the file."""
    given = {text(one) for one in found(values, theirs) if one is not None}
    if len(given) > 1:
        raise Cannot(f"datasets of one file have it as {' and '.join(sorted(given))}", "let them agree")
    return next(iter(given), usual)


def _thought(theirs: str, target: str) -> Convert:
    """Reasoning apart from the answer: the turn's property, and the name that the template has for it."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        ours = _only(f"{theirs}.template_thinking_key", values, _REASONING)
        return applied({f"{target}.turns.{ours}": _only(f"{theirs}.field_thinking", values, _REASONING)})

    return spread


def _roles(target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        given = mapping(value or {})
        odd = next((ours for ours in given if ours not in _ROLES), None)
        if odd is not None:
            raise Cannot(f"there is no role {odd!r}", f"use some of: {', '.join(_ROLES)}")
        named = {f"{target}.roles.{ours}": names(theirs) for ours, theirs in given.items()}
        return applied(named) if named else inert("it names nothing")

    return spread


def _train_on(theirs: str, target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        if truth(values.get("train_on_inputs")):
            return inert("train_on_inputs wins")
        ours = _learned(names(value), theirs, values)
        asked = [one for one in found(values, f"{theirs}.roles_to_train") if one is not None]
        alike = len(asked) == len(list(found(values, f"{theirs}.path"))) and all(one == value for one in asked)
        everywhere = alike and theirs.startswith("datasets")
        return applied({"data.train_on" if everywhere else f"{target}.train_on": ours})

    return spread


def _learned(asked: list[str], theirs: str, values: Values) -> list[str]:
    if "all" in asked:
        return ALL_ROLES
    known = {ours: set(usual) for ours, usual in _ROLES.items()}
    for more in found(values, f"{theirs}.roles"):
        for ours, others in mapping(more or {}).items():
            known.setdefault(ours, set()).update(names(others))
    unknown = [one for one in asked if not any(one in usual for usual in known.values())]
    if unknown:
        raise Cannot(f"there is no role {unknown[0]!r}", f"use some of: {', '.join(_ROLES)}")
    return [role for role, usual in known.items() if usual & set(asked)]


def _ends(theirs: str, target: str) -> Convert:
    """Which end tokens are learned; where the file names the tokens that end a turn, train_on_eot says it first."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: turn, the token that ends each learned turn is learned with it")
        if values.get("eot_tokens") and any(found(values, f"{theirs}.train_on_eot")):
            return inert("eot_tokens names what ends a turn, and train_on_eot says which of them are learned")
        return _ending(value, target)

    return spread


def _turn_ends(target: str) -> Convert:
    """Which turns' end tokens are learned. Without eot_tokens these are the end tokens of train_on_eos, and a token
    that either key asks for was learned: only ``all`` adds to the other key's turn."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: as train_on_eos")
        if values.get("eot_tokens") or value == "all":
            return _ending(value, target)
        return inert("without eot_tokens, a turn's end is the end token, of which train_on_eos speaks")

    return spread


def _ending(value: Any, target: str) -> Effect:
    if value not in _ENDS:
        raise Cannot(f"{value!r} is no choice", "write turn, all, last or none")
    return applied({f"{target}.train_on_eos": value}, "the tokens that end a turn in the template")
