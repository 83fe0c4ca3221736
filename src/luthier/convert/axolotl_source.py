"""How Axolotl says one source of rows: where it lies, the type of its rows, its columns, turns and prompt."""

from __future__ import annotations

import re
from typing import Any

from luthier.dialects.axolotl.prompters import ALPACA_TEXT, TYPES, Rows, settings_of
from luthier.recipe import Recipe
from luthier.recipe.prompt_format import PromptFormat
from luthier.recipe.source import Source

_NAMED = {"alpaca": "alpaca", "messages": "chat_template", "text": "completion", "input_output": "input_output"}
_JUDGED = {"pairs": "chat_template", "labelled": "chat_template"}
_COLUMNS = {
    "text": "field", "messages": "field_messages", "tools": "field_tools", "chosen": "field_chosen",
    "rejected": "field_rejected",
}  # fmt: skip
_OWN = ("instruction", "input", "output", "system")
"""Columns whose keys stand where otherwise the type does."""
_OWN_JUDGED = ("prompt", "chosen", "rejected", "completion", "label")
_TURNS = {"trained": "message_field_training", "trained_parts": "message_field_training_detail"}
"""Properties of a turn that have keys of their own; the others are mapped by name."""
_PLACES = ("instruction", "input", "system", "output")


def source_keys(recipe: Recipe, source: Source) -> dict[str, Any]:
    """One data set's keys."""
    judged = recipe.method.kind not in ("sft", "pretrain")
    keys: dict[str, Any] = {"path": source.path}
    if source.files:
        keys["data_files"] = list(source.files)
    keys |= _type(source, judged)
    if source.name is not None:
        keys["name"] = source.name
    if source.rows is not None and "[" not in source.split and not source.skip and source.shards is None:
        keys["split"] = f"{source.split}[:{source.rows}]"
    elif source.split != "train":
        keys["split"] = source.split
    if source.revision is not None:
        keys["revision"] = source.revision
    if source.skip:
        keys["skip"] = source.skip
    if source.shards is not None:
        keys |= {"shards": source.shards, "shards_idx": source.shard}
    left_out = {"drop_system_message": True} if source.drop_system and keys.get("type") not in TYPES else {}
    return keys | _columns(source, judged, typed="type" in keys) | _turns(source) | left_out


def _type(source: Source, judged: bool) -> dict[str, Any]:
    """The type's name; a mapping that writes the prompt out where no name stands for it."""
    if judged:
        return _own_prompt(source.prompt, judged) if source.prompt else _named(_JUDGED.get(source.format))
    if source.prompt is None:
        return _named(_NAMED.get(source.format))
    own = {
        "format": source.format,
        "drop_system": source.drop_system,
        **({} if source.end_tokens == 1 else {"end_tokens": source.end_tokens}),
        **({} if source.control_tokens == "text" else {"control_tokens": source.control_tokens}),
        **{f"prompt.{name}": text for name, text in source.prompt.model_dump(exclude_defaults=True).items()},
        **{f"columns.{ours}": theirs for ours, theirs in source.columns.items()},
    }
    found = [name for name, rows in TYPES.items() if {"drop_system": False, **_said(rows)} == own]
    # Axolotl puts Alpaca's text into the template where no other dataset has one, so that a mapping says it better.
    plain = [name for name in found if name not in ALPACA_TEXT]
    if plain or source.format != "alpaca":
        return _named(next(iter((*plain, *found)), None))
    return _own_prompt(source.prompt, judged)


def _said(rows: Rows) -> dict[str, Any]:
    """The settings of a source of such rows."""
    return {key.removeprefix("source."): value for key, value in settings_of(rows, "source", alpaca=False).items()}


def _named(name: str | None) -> dict[str, Any]:
    return {} if name is None else {"type": name}


def _own_prompt(prompt: PromptFormat, judged: bool) -> dict[str, Any]:
    if judged:
        answers = ("chosen", "rejected", "completion")
        return {
            "type.prompt_format": _braced(prompt.format, {"instruction": "prompt"}),
            **{f"type.{name}_format": _braced(prompt.answer, {"output": name}) for name in answers},
        }
    bare = prompt.format.replace("{input}", "") if prompt.no_input_format is None else prompt.no_input_format
    given = {"format": prompt.format, "no_input_format": bare}
    return {
        **{f"type.{name}": _braced(text, {}) for name, text in given.items()},
        **({} if prompt.system is None else {"type.system_prompt": prompt.system}),
        **({} if prompt.system_format == "{system}" else {"type.system_format": _braced(prompt.system_format, {})}),
    }


def _braced(form: str, names: dict[str, str]) -> str:
    """A text with braces doubled, but for the places of columns, which get Axolotl's names.

    >>> _braced("{instruction} {x}", {"instruction": "prompt"})
    '{prompt} {{x}}'
    """
    pieces = re.split(rf"\{{({'|'.join(_PLACES)})\}}", form)
    return "".join(
        f"{{{names.get(piece, piece)}}}" if at % 2 else piece.replace("{", "{{").replace("}", "}}")
        for at, piece in enumerate(pieces)
    )


def _columns(source: Source, judged: bool, *, typed: bool) -> dict[str, Any]:
    names = {**_COLUMNS, "prompt": "field_messages"} if judged else _COLUMNS
    if not typed:
        names = names | {name: f"type.field_{name}" for name in (_OWN_JUDGED if judged and source.prompt else _OWN)}
    return {names[ours]: theirs for ours, theirs in source.columns.items() if ours in names}


def _turns(source: Source) -> dict[str, Any]:
    mapped = {ours: theirs for ours, theirs in source.turns.items() if ours not in _TURNS and "." not in ours}
    return {
        **({"message_property_mappings": mapped} if mapped else {}),
        **{key: source.turns[ours] for ours, key in _TURNS.items() if ours in source.turns},
        **({"roles": {ours: list(theirs) for ours, theirs in source.roles.items()}} if source.roles else {}),
        **({} if source.train_on is None else {"roles_to_train": list(source.train_on)}),
        **({} if source.train_on_eos == "turn" else {"train_on_eos": source.train_on_eos}),
        **({"split_thinking": True} if source.split_thinking else {}),
    }
