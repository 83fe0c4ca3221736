"""What TRL's SFTConfig added to TrainingArguments, as it prints itself; and all that TRL added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects import names
from luthier.dialects.plain_values import flag, mapping, text, whole
from luthier.dialects.table import (
    Cannot,
    Effect,
    Inert,
    Key,
    Row,
    Spread,
    Values,
    applied,
    inert,
    replaced,
)
from luthier.dialects.training_arguments_preferences import PREFERENCES

ROLES = ["system", "user", "assistant", "tool", "template"]

LEAKED = "samples then ran into one another in a row of tokens; documents in a pack here never see one another"

STRATEGIES = {
    "bfd": ("best_fit", "truncate"),
    "bfd-requeue": ("best_fit", "split"),
    "bfd_split": ("best_fit", "split"),
    "ffd": ("first_fit", "truncate"),
    "wrapped": ("best_fit", "split"),
}
"""How TRL filled packs -> our packing, and what becomes of rows that are longer than one."""

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "auto": "auto"}
ATTENTION = {"flash_attention_2": "flash", "flash_attention_3": "flash", "sdpa": "sdpa", "eager": "eager"}


def _on(value: Any) -> bool:
    return value is not None and flag(value)


def packing(value: Any, values: Values) -> Effect:
    """``packing``: what it did depends on the version, which ``packing_strategy`` and ``max_length`` show."""
    if not _on(value):
        return applied({"pack.kind": "none", "data.overlong": "truncate"}, "over-long rows lose their tail")
    strategy = values.get("packing_strategy")
    if strategy is None and "max_length" in values and values.get("max_seq_length") is None:
        strategy = "bfd"
    if strategy is None or str(strategy) == "wrapped":
        note = f"whole documents are packed: {LEAKED}; rows longer than a pack are split, as they were"
        return replaced({"pack.kind": "best_fit", "data.overlong": "split"}, note)
    kind, overlong = STRATEGIES[names.member(strategy, tuple(STRATEGIES), "packing strategy")]
    cut = "lose their tail" if overlong == "truncate" else "are split"
    return applied({"pack.kind": kind, "data.overlong": overlong}, f"over-long rows {cut}")


def strategy(value: Any, values: Values) -> Effect:
    """``packing_strategy``: read with ``packing``."""
    if not _on(values.get("packing")):
        return inert("packing is off")
    names.member(value, tuple(STRATEGIES), "packing strategy")
    return replaced({}, "packing says it")


def text_column(value: Any, values: Values) -> Effect:
    """``dataset_text_field``: the rows are named elsewhere, and their columns with them."""
    if value in (None, "", "text"):
        return inert("the column that is read anyway")
    return replaced({}, f"name it with the rows, which this file does not: columns: {{text: {value}}}")


def printed_token(target: str) -> Callable[[Any, Values], Effect]:
    """``eos_token``, ``pad_token``: a printed config hides every value whose key ends in token."""

    def spread(value: Any, values: Values) -> Effect:
        if value in (None, "") or (str(value).startswith("<") and str(value).endswith("_TOKEN>")):
            return inert("not set, or hidden when it was printed: the tokenizer's own")
        return applied({target: text(value)})

    return spread


def truncation(value: Any, values: Values) -> Effect:
    """``truncation_mode``; of a preference pair kept by its end, the prompt loses its head for the longer answer."""
    if value is None:
        return inert("null: left at the default")
    kind = names.member(value, ("keep_start", "keep_end"), "truncation mode")
    if _on(values.get("packing")):
        return inert("packing says what becomes of over-long rows")
    return applied({"data.overlong": "truncate" if kind == "keep_start" else "truncate_left"})


def learned(value: Any, values: Values) -> Effect:
    """``assistant_only_loss``: off learned every token of a conversation."""
    if _on(value) or _on(values.get("completion_only_loss")):
        return applied({"data.train_on": ["assistant"]})
    note = (
        "off: every token of a conversation was learned; for rows of prompt and completion, of which the completion "
        "alone was, write data.train_on=[assistant]"
    )
    return applied({"data.train_on": ROLES}, note)


def completions(value: Any, values: Values) -> Effect:
    """``completion_only_loss``: on learned the answers alone, off the prompt as well, unset went by the columns."""
    if value is None:
        return inert("not set: it went by the rows")
    if _on(value) or _on(values.get("assistant_only_loss")):
        return applied({"data.train_on": ["assistant"]})
    return applied({"data.train_on": ROLES}, "off: prompts are learned too")


def model_words(value: Any, values: Values) -> Effect:
    """``model_init_kwargs``: the number type and the attention are settings; nothing else may be asked for."""
    made: dict[str, Any] = {}
    for name, said in (mapping(value) if value else {}).items():
        if name in ("torch_dtype", "dtype"):
            made["model.dtype"] = DTYPES[names.member(said, tuple(DTYPES), "number type")]
        elif name == "attn_implementation":
            made["model.attention"] = ATTENTION[names.member(said, tuple(ATTENTION), "attention")]
        elif name == "revision":
            made["model.revision"] = text(said)
        elif name not in ("use_cache", "device_map", "low_cpu_mem_usage", "trust_remote_code", "token"):
            raise Cannot(f"loading a model takes no {name}", "remove it")
    return applied(made) if made else inert("it asks for nothing that matters here")


def template_file(value: Any, values: Values) -> Effect:
    """``chat_template_path``."""
    if value in (None, ""):
        return inert("not set: the tokenizer's own")
    if not text(value).endswith((".jinja", ".jinja2", ".j2")):
        raise Cannot("a template is taken from a file, not from another tokenizer", "save it, and name FILE.jinja")
    return applied({"data.template": text(value)})


_OLD_PACKING = "an estimate for the way of packing that TRL had until 0.14"

SFT: tuple[Row, ...] = (
    Key("max_length", "data.max_length", whole, old=("max_seq_length",)),
    Spread("packing", ("pack.kind", "data.overlong"), packing),
    Spread("packing_strategy", (), strategy),
    Spread("dataset_text_field", (), text_column),
    Key("dataset_num_proc", "data.workers", whole),
    Spread("model_init_kwargs", ("model.dtype", "model.attention", "model.revision"), model_words, whole=True),
    Spread("chat_template_path", ("data.template",), template_file),
    Spread("eos_token", ("tokenizer.eos",), printed_token("tokenizer.eos")),
    Spread("pad_token", ("tokenizer.pad",), printed_token("tokenizer.pad")),
    Spread("truncation_mode", ("data.overlong",), truncation),
    Spread("assistant_only_loss", ("data.train_on",), learned),
    Spread("completion_only_loss", ("data.train_on",), completions),
    Key("use_liger", "runtime.kernels.liger", lambda value: "on" if flag(value) else "off"),
    Inert("dataset_kwargs", "rows are always prepared, with the tokens that their text or template holds", whole=True),
    Inert("shuffle_dataset", "each epoch has its own order anyway"),
    Inert("padding_free", "nothing is ever padded"),
    Inert("pad_to_multiple_of", "nothing is ever padded"),
    Inert("eval_packing", "documents in a pack never see one another: packed or not, the loss is the same"),
    Inert("num_of_sequences", _OLD_PACKING),
    Inert("chars_per_token", _OLD_PACKING),
    Inert("dataset_batch_size", "how many rows are prepared at once changes none of them"),
    Inert("activation_offloading", "where activations wait changes memory, not the result"),
)
"""SFTConfig's own."""

TRL: tuple[Row, ...] = (*SFT, *PREFERENCES)
