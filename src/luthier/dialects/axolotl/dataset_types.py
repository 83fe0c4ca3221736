"""Axolotl's ``type`` of a dataset: a name, or a mapping that writes the prompt out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects.axolotl.data import uses_template
from luthier.dialects.axolotl.prompters import (
    ALPACA_TEXT,
    CONVERSATIONS,
    JUDGED,
    OWN_DEFAULTS,
    PROMPT_COLUMNS,
    TEXTS,
    TYPES,
    settings_of,
)
from luthier.dialects.axolotl.values import found, names, text
from luthier.dialects.table import Cannot, Effect, Row, Spread, Values, applied, inert
from luthier.errors import nearest

Convert = Callable[[Any, Values], Effect]

_ALPACA = "the Stanford preamble and '### Instruction:'; where a row has an input, it stands below '### Input:'"
_WRITTEN = "the text that Axolotl's code had for it stands in the source's prompt"
_ENDS = (
    "without eot_tokens Axolotl learns the end token alone: where the template ends its turns in another, no end is "
    "learned, and the model does not learn to stop; name that token in eot_tokens"
)
_PERSONA = (
    "the template pygmalion writes what Axolotl's code did: Persona:, and <|user|> and <|model|> before the turns"
)
_FINISHED = "control tokens in the text are what they say, as in a text that a template was put around already"
_ASIDE = ("drop_system", "turn_ends", "end_tokens", "control_tokens")
_TEMPLATES = ("chatml", "llama3", "zephyr")
_COLUMNS = {
    "instruction": "instruction", "input": "input", "output": "output", "system": "system",
    "prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "completion": "completion", "label": "label",
}  # fmt: skip


def judged(values: Values) -> str | None:
    """The format of a run's rows if their answers are judged."""
    if not (values.get("rl") or values.get("reward_model")):
        return None
    return "labelled" if values.get("rl") == "kto" else "pairs"


def type_rows(theirs: str, target: str) -> tuple[Row, ...]:
    """The rows of ``type`` and of what stands below it where it is a mapping."""
    made = (f"{target}.format", f"{target}.columns", f"{target}.prompt.format")
    return (
        Spread(
            f"{theirs}.type",
            (*made, *(f"{target}.{name}" for name in _ASIDE), "data.template"),
            _type(theirs, target),
        ),
        *(
            Spread(f"{theirs}.type.field_{name}", made, _below(theirs, target, f"columns.{ours}", text))
            for name, ours in _COLUMNS.items()
        ),
        Spread(
            f"{theirs}.type.system_prompt", (f"{target}.prompt.system",), _below(theirs, target, "prompt.system", text)
        ),
        *(
            Spread(f"{theirs}.type.{name}", (f"{target}.{ours}",), _below(theirs, target, ours, convert))
            for name, ours, convert in (
                ("system_format", "prompt.system_format", _form),
                ("format", "prompt.format", _form),
                ("no_input_format", "prompt.no_input_format", _form),
                ("prompt_format", "prompt.format", _form),
                ("chosen_format", "prompt.answer", _form),
                ("rejected_format", "prompt.answer", _form),
                ("completion_format", "prompt.answer", _form),
            )
        ),
    )


def _type(theirs: str, target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: the format is told from the columns")
        name = text(value)
        form = judged(values)
        if form is not None:
            return _judged(name, form, theirs, target, values)
        if name == "stepwise_supervised":
            raise Cannot("models that judge the steps of an answer are not there", "leave the dataset out")
        if name == "pygmalion":
            return applied({f"{target}.format": "messages", "data.template": name}, _PERSONA)
        if name in TYPES:
            alpaca = name in ALPACA_TEXT and not uses_template(values)
            said = _ALPACA if alpaca else _WRITTEN
            return applied(settings_of(TYPES[name], target, alpaca=alpaca), said)
        if name.partition(":")[0] in CONVERSATIONS:
            old = (
                "removed from Axolotl in 2024-11; conversations of from and value are read as chat_template reads them"
            )
            ends = [*names(values.get("eot_tokens") or []), "eos_token"]
            said = old if name.startswith("sharegpt") else _ENDS if len(ends) == 1 else ""
            return applied({f"{target}.format": "messages", f"{target}.turn_ends": ends}, said)
        if name in TEXTS:
            if TEXTS[name] != "text":
                return applied({f"{target}.format": TEXTS[name]})
            return applied({f"{target}.format": "text", f"{target}.control_tokens": "control"}, _FINISHED)
        known = (*TYPES, *CONVERSATIONS, *TEXTS, "pygmalion")
        near = nearest(name, known)
        raise Cannot(
            f"rows of the type {name!r} are not there",
            f"did you mean {near}?" if near else "bring them into alpaca, chat_template, completion or input_output",
        )

    return spread


def _judged(name: str, form: str, theirs: str, target: str, values: Values) -> Effect:
    """Rows whose answers are judged."""
    base, _, last = name.partition(".")
    if base not in JUDGED:
        raise Cannot(f"judged rows of the type {name!r} are not there", f"write one of: {', '.join(JUDGED)}")
    made: dict[str, Any] = {f"{target}.format": form}
    if base == "user_defined":
        made |= _own(theirs, target, values)
    elif base in _TEMPLATES:
        made["data.template"] = base
    if form == "labelled":
        if last == "argilla":
            made[f"{target}.columns.prompt"] = "instruction"
    elif base == "bradley_terry":
        made[f"{target}.columns.prompt"] = "input"
    if last in PROMPT_COLUMNS:
        made[f"{target}.columns.prompt"] = PROMPT_COLUMNS[last]
    if form == "labelled":
        return applied(made, "a prompt, one answer and whether it is wanted, by column")
    return applied(made, "a prompt, the answer chosen and the one rejected, by column")


def _own(theirs: str, target: str, values: Values) -> dict[str, Any]:
    """What a prompt of one's own means by not saying it."""
    said = {name for name in (*OWN_DEFAULTS, "prompt_format") if any(found(values, f"{theirs}.type.{name}"))}
    if judged(values) is None:
        return {f"{target}.prompt.{name}": form for name, form in OWN_DEFAULTS.items() if name not in said}
    plain = {} if "prompt_format" in said else {f"{target}.prompt.format": "{instruction}"}
    return {**plain, f"{target}.prompt.system_format": ""}


def _below(theirs: str, target: str, ours: str, convert: Callable[[Any], Any]) -> Convert:
    """A key of the mapping: its own setting, and what the mapping's being there means."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        made = {f"{target}.format": judged(values) or "alpaca", **_own(theirs, target, values)}
        return applied({**made, f"{target}.{ours}": convert(value)})

    return spread


def _form(value: Any) -> str:
    """A format with our names for its places. Doubled braces, which Python's formats write for one, are one."""
    form = text(value)
    for name in ("chosen", "rejected", "completion"):
        form = form.replace(f"{{{name}}}", "{output}")
    form = form.replace("{prompt}", "{instruction}")
    return form.replace("{{", "{").replace("}}", "}")
