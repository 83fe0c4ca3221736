"""How Axolotl says the rows, their lengths and how they are packed."""

from __future__ import annotations

from typing import Any

from luthier.convert.axolotl_source import source_keys
from luthier.convert.sheet import Keys, Writer, one
from luthier.dialects.axolotl.templates import FALLBACK, OURS, SAME
from luthier.recipe import Recipe

_ALL_ROLES = ["assistant", "user", "system", "tool"]
_OVERLONG = {"drop": "drop", "truncate": "truncate", "refuse": "raise"}


def _list(recipe: Recipe, part: str) -> str:
    if part == "evaluate":
        return "test_datasets"
    return "pretraining_dataset" if recipe.method.kind == "pretrain" else "datasets"


def _rows(part: str) -> Writer:
    def write(recipe: Recipe) -> Keys:
        keys: dict[str, Any] = {}
        for index, source in enumerate(getattr(recipe.data, part)):
            stem = f"{_list(recipe, part)}.{index}."
            keys |= {stem + name: value for name, value in source_keys(recipe, source).items()}
        if part == "evaluate":
            return keys
        ends = _turn_ends(recipe)
        return {**keys, **_streaming(recipe), **({"eot_tokens": ends} if ends else {})}

    return Writer((f"data.{part}",), write)


def _streaming(recipe: Recipe) -> Keys:
    """Texts of pretraining are streamed there unless it is said that they are not."""
    streamed = {source.streaming for source in recipe.data.train}
    usual = recipe.method.kind == "pretrain"
    return {} if streamed == {usual} else {"streaming": not usual}


def _train_on(recipe: Recipe) -> Keys:
    roles = [role for role in recipe.data.train_on if role != "template"]
    if set(roles) == set(_ALL_ROLES):
        return {"train_on_inputs": True}
    stem = _list(recipe, "train")
    return {f"{stem}.{index}.roles_to_train": roles for index in range(len(recipe.data.train))}


_TEMPLATES = {"auto": "tokenizer_default", **{OURS.get(theirs, theirs): theirs for theirs in reversed(SAME)}}
"""Axolotl's names of the templates that have the same text there."""
_TURN_ENDS = {
    **dict.fromkeys(("chatml", "qwen", "qwen3"), "<|im_end|>"),
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "phi3": "<|end|>",
}
"""What ends a turn in these."""


def _template(name: str) -> str | None:
    if name.endswith((".jinja", ".jinja2", ".j2")):
        return "jinja"
    if name.startswith("auto/") and name.removeprefix("auto/") in _TEMPLATES:
        return FALLBACK + _TEMPLATES[name.removeprefix("auto/")]
    return _TEMPLATES.get(name)


def _turn_ends(recipe: Recipe) -> list[str]:
    """What Axolotl has to be told of, as it looks for the end token alone otherwise."""
    sources = [source for source in recipe.data.train if source.format == "messages"]
    named = [end for source in sources for end in source.turn_ends if end != "eos_token"]
    usual = _TURN_ENDS.get(recipe.data.template.removeprefix("auto/"))
    if usual and any(not source.turn_ends for source in sources):
        named.append(usual)
    return list(dict.fromkeys(named))


def _templates(recipe: Recipe) -> Keys:
    name = recipe.data.template
    kind = _template(name)
    if kind is None:
        return {}
    return {"chat_template": kind, **({"chat_template_jinja": name} if kind == "jinja" else {})}


def _arguments(recipe: Recipe) -> Keys:
    given = recipe.data.template_arguments
    return {f"chat_template_kwargs.{name}": value for name, value in given.items() if name.isidentifier()}


def _packing(recipe: Recipe) -> Keys:
    """A packed micro-batch is one row of micro_batch_size x sequence_len tokens, unless it is said to be several."""
    length, micro = recipe.data.max_length, recipe.batch.micro
    keys: dict[str, Any] = {"sequence_len": length}
    if recipe.pack.kind == "none":
        return {**keys, "micro_batch_size": micro}
    width = recipe.pack.length or length
    if recipe.method.kind != "pretrain" or width != length or micro > 1:
        keys["sample_packing"] = True
    if micro > 1:
        keys |= {"micro_batch_size": micro, "multipack_real_batches": True}
        return keys if width == length else {**keys, "max_packed_sequence_len": width}
    if width % length:
        return {**keys, "micro_batch_size": 1, "max_packed_sequence_len": width}
    return {**keys, "micro_batch_size": width // length}


def _evaluation_batch(recipe: Recipe) -> Keys:
    size, keys = recipe.batch.evaluate, _packing(recipe)
    if size is None:
        return {}
    wide = recipe.pack.kind != "none" and "multipack_real_batches" not in keys
    return {"eval_batch_size": size * int(keys["micro_batch_size"]) if wide else size}


DATA: tuple[Writer, ...] = (
    _rows("train"),
    _rows("evaluate"),
    Writer(("data.train_on",), _train_on),
    Writer(("data.template",), _templates),
    Writer(("data.template_arguments",), _arguments),
    one("data.overlong", "excess_length_strategy", _OVERLONG.get),
    Writer(
        ("pack.kind", "pack.length", "batch.micro", "data.max_length"),
        _packing,
        "the nearest way to pack; a pack whose length is not named is as long as data.max_length",
    ),
    Writer(("batch.evaluate",), _evaluation_batch),
    one("batch.accumulation", "gradient_accumulation_steps"),
)
