"""Axolotl's table row by row: each key changes the run, or says why it does not."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
import yaml

from luthier.dialects.axolotl import AXOLOTL
from luthier.dialects.reading import Outcome, Reading
from luthier.dialects.table import Inert, Refused, Row
from luthier.errors import RecipeError
from luthier.recipe import Recipe
from luthier.recipe.field import fields_of
from tests.dialects.axolotl.flips import ABSENT, FLIPS

BASE: dict[str, Any] = {"base_model": "a/b", "datasets": [{"path": "rows.jsonl", "type": "alpaca"}]}

SEED = [
    "base_model", "model_type", "tokenizer_type", "load_in_8bit", "load_in_4bit", "strict", "datasets",
    "dataset_prepared_path", "val_set_size", "output_dir", "sequence_len", "sample_packing",
    "pad_to_sequence_len", "adapter", "lora_model_dir", "lora_r", "lora_alpha", "lora_dropout",
    "lora_target_linear", "lora_fan_in_fan_out", "wandb_project", "wandb_entity", "wandb_watch", "wandb_name",
    "wandb_log_model", "gradient_accumulation_steps", "micro_batch_size", "num_epochs", "optimizer",
    "lr_scheduler", "learning_rate", "train_on_inputs", "group_by_length", "bf16", "fp16", "tf32",
    "gradient_checkpointing", "early_stopping_patience", "resume_from_checkpoint", "local_rank", "logging_steps",
    "xformers_attention", "flash_attention", "flash_attn_cross_entropy", "flash_attn_rms_norm",
    "flash_attn_fuse_qkv", "flash_attn_fuse_mlp", "warmup_steps", "evals_per_epoch", "eval_table_size",
    "saves_per_epoch", "debug", "deepspeed", "weight_decay", "fsdp", "fsdp_config", "special_tokens",
]  # fmt: skip
"""Every key of the full fine-tuning example of 2024."""


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Write a value at a dotted path, making what lies on the way."""
    parts = path.split(".")
    node: Any = tree
    for part, following in pairwise(parts):
        if isinstance(node, list):
            node = node[int(part)]
            continue
        if not isinstance(node.get(part), (dict, list)):
            node[part] = [{}] if following.isdecimal() else {}
        node = node[part]
    node[parts[-1]] = value


def read(path: str, value: Any, rest: dict[str, Any]) -> Reading:
    tree = deepcopy(BASE | rest)
    if value is not ABSENT:
        put(tree, path, value)
    return AXOLOTL.read(yaml.safe_dump(tree), "axolotl.yml", ())


def outcome(reading: Reading, path: str) -> tuple[Outcome, str]:
    (found,) = [(one.outcome, one.note) for one in reading.accounts if one.key == path and one.place != reading.source]
    return found


def starred(path: str) -> str:
    return ".".join("*" if part.isdecimal() else part for part in path.split("."))


def test_every_key_of_the_seed_has_a_row() -> None:
    names = {name for row in AXOLOTL.rows for name in row.names}
    assert len(SEED) == 57
    assert [key for key in SEED if key not in names] == []


def test_no_key_has_two_rows() -> None:
    counts = Counter(name for row in AXOLOTL.rows for name in row.names)
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_row_that_makes_settings_is_flipped() -> None:
    made = {row.name for row in AXOLOTL.rows if row.targets}
    assert made == {starred(path) for path, *_ in FLIPS}


@pytest.mark.parametrize(("path", "one", "other", "rest"), FLIPS, ids=[path for path, *_ in FLIPS])
def test_flipping_a_key_changes_the_recipe(path: str, one: Any, other: Any, rest: dict[str, Any]) -> None:
    first, second = read(path, one, rest), read(path, other, rest)
    assert first.recipe != second.recipe
    for reading in (first, second):
        assert outcome(reading, path)[0] is not Outcome.REFUSED, outcome(reading, path)[1]


@pytest.mark.parametrize("row", [row for row in AXOLOTL.rows if row.old], ids=lambda row: row.name)
def test_an_older_name_means_the_same(row: Row) -> None:
    flips = {starred(path): (path, value, rest) for path, value, _, rest in FLIPS}
    path, value, rest = flips.get(row.name, (row.name.replace("*", "0"), None, {}))
    for old in row.old:
        assert read(path, value, rest).recipe == read(old.replace("*", "0"), value, rest).recipe


def test_targets_are_settings() -> None:
    known = {dotted for dotted, _ in fields_of(Recipe)}
    for row in AXOLOTL.rows:
        for target in row.targets:
            name = target.replace(".*", "")
            assert any(name == one or name.startswith(f"{one}.") for one in known), target


def test_what_cannot_matter_says_why() -> None:
    for row in AXOLOTL.rows:
        if isinstance(row, Inert):
            assert len(row.reason.split()) > 2, row.name
        if isinstance(row, Refused):
            assert row.reason and row.remedy, row.name


@pytest.mark.parametrize("row", [row for row in AXOLOTL.rows if isinstance(row, Refused)], ids=lambda row: row.name)
def test_what_cannot_be_had_is_refused_with_a_remedy(row: Refused) -> None:
    path = row.name.replace("*", "0")
    said, note = outcome(read(path, "asked for", {"datasets": None} if path.startswith("pretrain") else {}), path)
    assert (said, note) == (Outcome.REFUSED, f"{row.reason}; {row.remedy}")


@pytest.mark.parametrize("value", [0, "0", "x", [], {"a": 1}, float("inf")], ids=str)
def test_no_value_is_an_exception_of_python(value: Any) -> None:
    for row in AXOLOTL.rows:
        path = row.name.replace("*", "0")
        with suppress(RecipeError):
            assert any(one.key == path or one.key.startswith(f"{path}.") for one in read(path, value, {}).accounts)
