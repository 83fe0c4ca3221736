"""DeepSpeed's JSON file, which other files name: found, and given its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from luthier.dialects.companion import companion_read, named_document, yielding
from luthier.dialects.deepspeed_rows import DEEPSPEED_ROWS
from luthier.dialects.deepspeed_schedule import default_peak, default_warmup
from luthier.dialects.document import Document
from luthier.dialects.json_document import load_json
from luthier.dialects.table import Default, Effect, Row, Values, applied, inert, refused, replaced
from luthier.dialects.tabular import Companion

__all__ = [
    *("DEEPSPEED_ROWS", "UNCLIPPED", "deepspeed_companion", "deepspeed_companions", "names_deepspeed"),
    "under_deepspeed",
]

INSIDE = "deepspeed: "
"""Stands before the keys of DeepSpeed settings that have no file of their own."""

ARGUMENTS = {
    **dict.fromkeys(("optim", "adafactor", "optim_args", "optim_target_modules"), "optimizer"),
    **dict.fromkeys(("lr_scheduler_type", "lr_scheduler_kwargs"), "scheduler"),
}
"""TrainingArguments' keys that give way to a block of the DeepSpeed file."""


def deepspeed_companion(path: str, folder: Path) -> Companion:
    """The DeepSpeed file that a file in ``folder`` names, with its table; without keys when it is not there.

    Raises:
        RecipeError: the file is there and is not JSON.
    """
    document = named_document(path, folder, load_json)
    return Companion(document, DEEPSPEED_ROWS, Path(path).name + ": ")


def deepspeed_companions(document: Document, folder: Path, *above: str) -> list[Companion]:
    """What the key ``deepspeed`` (below ``above``) of a file in ``folder`` names or holds; nothing without such a key.

    Raises:
        RecipeError: a file is there and is not JSON.
    """
    path = (*above, "deepspeed")
    value = document.value
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, dict):
        lines = {key[len(path) :]: line for key, line in document.lines.items() if key[: len(path)] == path}
        return [Companion(Document(document.name, value, lines), DEEPSPEED_ROWS, INSIDE)]
    return [deepspeed_companion(value, folder)] if isinstance(value, str) and value else []


def names_deepspeed(value: Any, values: Values) -> Effect:
    """A key that names a DeepSpeed file, or holds its settings: the engine and the file, or why not."""
    if not value:
        return inert("no DeepSpeed file is named")
    if isinstance(value, dict):
        return applied({"parallel.engine": "deepspeed"}, "its settings stand here with their own lines")
    if not companion_read(str(value), values):
        return refused(
            f"there is no DeepSpeed file {value} in this file's folder or one above it",
            "put it there, or correct its path",
        )
    note = "it is read: its keys stand here with their own places; its optimizer and scheduler blocks win"
    return applied({"parallel.engine": "deepspeed", "parallel.deepspeed": str(value)}, note)


def has_block(block: str, values: Values) -> bool:
    """Whether the DeepSpeed file has an ``optimizer`` or ``scheduler`` of its own."""
    return any(key.endswith(f": {block}.type") for key in values)


def unclipped(values: Values) -> bool:
    """Whether a DeepSpeed file was read that has no ``gradient_clipping``.

    Clipping is then DeepSpeed's, whose default is not to clip; the recipe's own number is what ``auto`` would take.
    """
    keys = [key.partition(": ")[2] for key in values]
    read = any(key.partition(".")[0] in _ROOTS for key in keys)
    return read and not any(key in ("gradient_clipping", "deepspeed_config.gradient_clipping") for key in keys)


_ROOTS = frozenset({"zero_optimization", "train_batch_size", "train_micro_batch_size_per_gpu"})
"""Keys of which a DeepSpeed file has at least one."""

_UNCLIPPED = "the DeepSpeed file has no gradient_clipping, and then nothing is clipped; auto there takes this number"

UNCLIPPED = Default("max_grad_norm", None, {"optimizer.clip": None}, _UNCLIPPED, unclipped)
"""What a DeepSpeed file's silence means for clipping."""

_PEAK = "the DeepSpeed file's schedule has no warmup_max_lr, and its own peak is 0.001; auto there takes this number"
_LENGTH = "the DeepSpeed file's schedule has no warmup_num_steps, and its own is 1000; auto there takes this number"
_DECAYED = "as DeepSpeed's optimiser has one group of weights, biases and norms decayed too upstream; here they do not"


def _own_words(name: str, row: Row, value: Any, values: Values) -> Effect | None:
    """What a DeepSpeed file makes of a key that none of its blocks replaces; None: nothing."""
    if name == "max_grad_norm" and unclipped(values):
        return replaced({"optimizer.clip": None}, _UNCLIPPED)
    if name == "learning_rate" and default_peak(values):
        return replaced({}, _PEAK)
    if name == "weight_decay" and value and has_block("optimizer", values):
        effect = row.effect(value, values)
        return Effect(effect.outcome, effect.settings, _DECAYED)
    return None


def _warmed(row: Row, curve: tuple[str, ...]) -> Row:
    """A warm-up's length, which a DeepSpeed schedule takes over; the curve it stood beside no longer matters."""

    def before(value: Any, values: Values) -> Effect | None:
        if not has_block("scheduler", values):
            return None
        if default_warmup(values):
            return replaced({}, _LENGTH)
        return row.effect(value, {key: one for key, one in values.items() if key not in curve})

    return yielding(row, before)


def _owned(row: Row, name: str) -> Row:
    if name not in ("max_grad_norm", "learning_rate", "weight_decay"):
        return row
    return yielding(row, lambda value, values: _own_words(name, row, value, values))


def under_deepspeed(rows: tuple[Row, ...], prefix: str = "", blocks: Mapping[str, str] = ARGUMENTS) -> tuple[Row, ...]:
    """``rows`` of a dialect whose optimiser and schedule give way to those of a DeepSpeed file that has its own.

    Args:
        rows: the dialect's rows.
        prefix: what stands before its keys.
        blocks: its keys (without ``prefix``) -> the block that replaces them.
    """
    owned = {prefix + name: block for name, block in blocks.items()}
    curve = tuple(prefix + name for name, block in blocks.items() if block == "scheduler")

    def gives_way(block: str) -> Callable[[Any, Values], Effect | None]:
        def before(value: Any, values: Values) -> Effect | None:
            if not has_block(block, values):
                return None
            if value in (None, False, "", {}):
                return inert(f"the {block} block of the DeepSpeed file says it")
            return replaced({}, f"the {block} block of the DeepSpeed file replaces it, here as upstream")

        return before

    def under(row: Row) -> Row:
        name = row.name.removeprefix(prefix)
        if row.name in owned:
            return yielding(row, gives_way(owned[row.name]))
        if name in ("warmup_steps", "warmup_ratio"):
            return _warmed(row, curve)
        return _owned(row, name)

    return tuple(map(under, rows))
