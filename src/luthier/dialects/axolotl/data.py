"""Axolotl's keys of rows, their lengths and how they are packed."""

from __future__ import annotations

from typing import Any

from luthier.dialects.axolotl.values import flag, found, instead, number, part, text, truth, whole
from luthier.dialects.table import (
    VANISHED,
    Cannot,
    Default,
    Effect,
    Gather,
    Inert,
    Key,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    refused,
    replaced,
)
from luthier.dialects.training_arguments_maths import DROPPED

ALL_ROLES = ["assistant", "user", "system", "tool"]
_OVERLONG = {"drop": "drop", "truncate": "truncate", "raise": "refuse"}
_PLAIN_TYPES = ("completion", "pretrain")


def pretraining(values: Values) -> bool:
    """Whether the file streams plain texts."""
    return any(key.startswith("pretraining_dataset") and value is not None for key, value in values.items())


def all_plain(values: Values) -> bool:
    """Whether every dataset of the file is plain text."""
    types = list(found(values, "datasets.*.type"))
    return pretraining(values) or (bool(types) and all(one in _PLAIN_TYPES for one in types))


def uses_template(values: Values) -> bool:
    """Whether a dataset of the file is put through the chat template."""
    types = [str(one) for one in found(values, "datasets.*.type")]
    return any(one.startswith(("chat_template", "sharegpt")) or one.endswith(".chat_template") for one in types)


def _packs(values: Values) -> bool:
    return flag(values.get("sample_packing") or False) or bool(values.get("max_packed_sequence_len"))


def _micro(values: Values) -> int:
    return whole(values.get("micro_batch_size") or 1) or 1


def batching(values: Values) -> dict[str, Any]:
    """Packs, micro-batches and lengths, which only together say what one step holds."""
    micro = _micro(values)
    length = whole(values.get("sequence_len") or 512)
    made: dict[str, Any] = {"data.max_length": length}
    if not (_packs(values) or pretraining(values)):
        return made | {"pack.kind": "none", "batch.micro": micro}
    width = whole(values.get("max_packed_sequence_len") or length)
    if truth(values.get("multipack_real_batches")):
        return made | {"pack.kind": "best_fit", "pack.length": width, "batch.micro": micro}
    return made | {"pack.kind": "best_fit", "pack.length": width * micro, "batch.micro": 1}


def _batching(*targets: str, note: str = "") -> Any:
    def gather(values: Values) -> Effect:
        made = batching(values)
        return applied({name: value for name, value in made.items() if name in targets}, note)

    return gather


_ACCUMULATED = "before transformers 4.46 each micro-batch counted alike; here each trained token does"


def _accumulation(values: Values) -> Effect:
    steps, total = values.get("gradient_accumulation_steps"), values.get("batch_size")
    micro = _micro(values)
    if total is None:
        return applied({"batch.accumulation": whole(steps)}, _ACCUMULATED)
    share, rest = divmod(whole(total), micro)
    if rest or share < 1:
        raise Cannot(f"batch_size {total} is no multiple of micro_batch_size {micro}", "make it one")
    if steps is not None and whole(steps) != share:
        raise Cannot(
            f"batch_size {total} and micro_batch_size {micro} make {share} steps of accumulation, not {steps}",
            "keep gradient_accumulation_steps alone",
        )
    return applied({"batch.accumulation": share}, "accumulation is batch_size / micro_batch_size, per device")


def _evaluation_batch(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: as micro_batch_size")
    size, micro = whole(value), _micro(values)
    if batching(values).get("batch.micro") == micro:
        return applied({"batch.evaluate": size})
    note = "counted in packs of micro_batch_size x sequence_len tokens; it changes no loss"
    return applied({"batch.evaluate": max(1, size // micro)}, note)


def _holdout(value: Any) -> int | float:
    size = number(value)
    if size == 1:
        raise Cannot("it would hold out everything, or one row", "write a share below 1, or a number of rows above 1")
    return part(size) if size else 0


def _train_on(value: Any) -> list[str]:
    return ALL_ROLES if flag(value) else ["assistant"]


def _overlong(value: Any) -> str:
    if value not in _OVERLONG:
        raise Cannot(f"{value!r} is no strategy", "write drop, truncate or raise")
    return _OVERLONG[value]


def _evaluation_length(value: Any, values: Values) -> Effect:
    if value in (None, values.get("sequence_len")):
        return inert("it is sequence_len")
    return refused("evaluation rows have the length of training rows", "leave it out")


def _short(value: Any, values: Values) -> Effect:
    if value is None or whole(value) <= 2:
        return inert("a row with an answer is longer than that")
    return applied({"data.min_length": whole(value)})


def _evaluation_packing(value: Any, values: Values) -> Effect:
    return inert(
        "on by default there; documents in a pack never see one another and the loss is divided once by its tokens, so "
        "evaluation comes to the same either way"
    )


def _concatenated(value: Any, values: Values) -> Effect:
    if not truth(value):
        return inert("it asks for nothing")
    return replaced({}, "texts share a pack here as well, but do not see one another")


_STEP = (
    "In Axolotl a packed micro-batch was one row of micro_batch_size x sequence_len tokens; so it is here, as one pack "
    "of that length: the same tokens per step"
)
_PARALLEL_PACKING = "how packing was spread over processes; here it takes seconds in one"
_POSE = ("stretched positions (PoSE) are not there", "leave it out")

DATA: tuple[Row, ...] = (
    Gather("sequence_len", ("data.max_length", "pack.length"), _batching("data.max_length", "pack.length"), note=_STEP),
    Gather(
        "sample_packing",
        ("pack.kind", "pack.length", "batch.micro"),
        _batching("pack.kind", "pack.length", "batch.micro"),
        note="documents in a pack do not see one another and count positions each from 0, as there. " + _STEP,
    ),
    Gather(
        "max_packed_sequence_len",
        ("pack.kind", "pack.length"),
        _batching(
            "pack.kind",
            "pack.length",
            note="it cut texts to this length across rows, which saw one another; here whole rows are packed",
        ),
    ),
    Gather("multipack_real_batches", ("pack.length", "batch.micro"), _batching("pack.length", "batch.micro")),
    Gather(
        "micro_batch_size",
        ("batch.micro", "pack.length"),
        _batching("batch.micro", "pack.length"),
        note="with sample_packing it widens the pack. " + _STEP,
    ),
    Gather("gradient_accumulation_steps", ("batch.accumulation",), _accumulation),
    Gather("batch_size", ("batch.accumulation",), _accumulation),
    Spread("eval_batch_size", ("batch.evaluate",), _evaluation_batch),
    Key("auto_find_batch_size", "batch.find_micro", flag),
    Key("dataloader_drop_last", "batch.drop_last", flag, note=DROPPED),
    Key(
        "val_set_size",
        "data.holdout",
        _holdout,
        note="above 1 it counts rows; which rows are held out is drawn anew, from Luthier's own seed",
    ),
    Key("excess_length_strategy", "data.overlong", _overlong),
    Key("train_on_inputs", "data.train_on", _train_on, note="false learns the answers alone; true every turn"),
    Key("dataset_exact_deduplication", "data.deduplicate", flag),
    Key("group_by_length", "data.group_by_length", flag, note="without padding it saves nothing but changes the order"),
    Key("curriculum_sampling", "data.shuffle", lambda value: not flag(value), note="rows come in the file's order"),
    Key("dataset_prepared_path", "data.cache", text, note="prepared data lie below it, by the hash of what made them"),
    Key("dataset_num_proc", "data.workers", whole, old=("dataset_processes",)),
    Key("default_system_message", "data.system", text),
    Key("max_prompt_len", "method.max_prompt_length", whole),
    Spread("eval_sequence_len", (), _evaluation_length),
    Spread("eval_sample_packing", (), _evaluation_packing),
    Spread("min_sample_len", ("data.min_length",), _short),
    Spread("pretraining_sample_concatenation", (), _concatenated),
    Spread("sample_packing_sequentially", (), instead("packs are filled best-fit, whatever the order of the rows")),
    Inert("pretrain_multipack_attn", "documents in a pack never see one another", (None, True), "leave it out"),
    Inert(
        "pad_to_sequence_len",
        "Axolotl padded to sequence_len rounded up to 64; nothing is padded here, and padding counted in no loss",
    ),
    Inert("pad_to_multiple_of", "nothing is padded: packs are as long as what is in them"),
    Inert("batch_flattening", "a micro-batch is always one row without padding"),
    Inert("shuffle_merged_datasets", "each epoch has its own order; it only drew which rows are held out"),
    Inert("shuffle_before_merging_datasets", "each epoch has its own order over all sources"),
    Inert("sample_packing_eff_est", "an estimate that Axolotl computed; the plan counts"),
    Inert("sample_packing_seq_len_multiplier", "the pack's width follows from micro_batch_size"),
    Inert("total_num_tokens", "a count that Axolotl computed; the plan counts"),
    Inert("total_supervised_tokens", "a count that Axolotl computed; the plan counts"),
    Inert("sample_packing_group_size", _PARALLEL_PACKING),
    Inert("sample_packing_bin_size", "packs hold as many documents as fit"),
    Inert("sample_packing_mp_start_method", _PARALLEL_PACKING),
    Inert("streaming_multipack_buffer_size", "packing sees all rows at once", old=("pretrain_multipack_buffer_size",)),
    Inert("dataset_keep_in_memory", "prepared data are mapped from disk"),
    Inert("num_dataset_shards_to_save", "prepared data are one store"),
    Inert("remove_unused_columns", "a row's format takes the columns it needs"),
    Inert("dataloader_prefetch_factor", "batches are put together in the loop itself"),
    Inert("hf_use_auth_token", "the hub's own login is used where there is one"),
    Inert("is_preprocess", "Axolotl fills it in itself"),
    Inert("preprocess_iterable", "rows are read whole, prepared once and kept on disk"),
    Refused(
        "dataset_shard_num",
        "the rows of all datasets together are not cut",
        "write shards and shards_idx in each dataset",
    ),
    Inert("dataset_shard_idx", "it belongs to dataset_shard_num"),
    Spread(
        "skip_prepare_dataset", (), instead("rows are always prepared before the first step; the batches are the same")
    ),
    Spread("push_dataset_to_hub", (), instead("prepared data stay in the cache and are not uploaded")),
    Inert("collator_pad_to_longest", "nothing is padded: packs are as long as what is in them"),
    Refused("use_pose", *_POSE),
    Refused("pose_split_on_token_ids", *_POSE, unless=(None, [])),
    Inert("pose_max_context_len", "it belongs to use_pose"),
    Inert("pose_num_chunks", "it belongs to use_pose"),
)

DEFAULTS: tuple[Default, ...] = (
    Default("sequence_len", 512, {"data.max_length": 512}),
    Default("micro_batch_size", 1, {"batch.micro": 1}),
    Default("gradient_accumulation_steps", 1, {"batch.accumulation": 1}),
    Default(
        "sample_packing",
        None,
        {"pack.kind": "best_fit"},
        "texts were joined and cut; here they share a pack and do not see one another",
        pretraining,
    ),
    Default("sample_packing", False, {"pack.kind": "none"}, "every row by itself"),
    Default("val_set_size", 0.0, {"data.holdout": 0}, "no evaluation"),
    Default("train_on_inputs", False, {"data.train_on": ["assistant"]}, "the answers alone are learned"),
    Default("untrainable_rows", "dropped", {"data.vanished": "drop"}, VANISHED),
    Default("excess_length_strategy", None, {"data.overlong": "split"}, "plain texts are cut into pieces", all_plain),
    Default("excess_length_strategy", "drop", {"data.overlong": "drop"}, "rows that are too long are left out"),
)
