"""Axolotl's files: YAML 1.1 with a base model, from the first release on to 0.18."""

from __future__ import annotations

from luthier.dialects.axolotl import adapter, data, datasets, record, speed, training
from luthier.dialects.axolotl.absent import ABSENT
from luthier.dialects.axolotl.model import MODEL, TOKENIZER
from luthier.dialects.deepspeed import deepspeed_companions, under_deepspeed
from luthier.dialects.document import Document, load_yaml
from luthier.dialects.tabular import TableDialect

_BESIDE = frozenset(
    ("datasets", "pretraining_dataset", "test_datasets", "micro_batch_size", "sequence_len", "num_epochs", "adapter")
)
"""Of these a file of Axolotl's has at least one beside its base model."""

_BLOCKS = {
    **dict.fromkeys(("optimizer", "optim_args"), "optimizer"),
    **dict.fromkeys(("lr_scheduler", "lr_scheduler_kwargs", "cosine_min_lr_ratio"), "scheduler"),
}
"""Keys that give way to a block of the DeepSpeed file."""


def _parse(text: str, name: str) -> Document:
    return load_yaml(text, name, version="1.1")


def _recognises(document: Document) -> bool:
    keys = document.value if isinstance(document.value, dict) else {}
    return "base_model" in keys and not _BESIDE.isdisjoint(keys)


AXOLOTL = TableDialect(
    name="axolotl",
    rows=(
        *MODEL,
        *TOKENIZER,
        *adapter.ADAPTER,
        *datasets.DATASETS,
        *data.DATA,
        *under_deepspeed(training.TRAINING, blocks=_BLOCKS),
        *speed.SPEED,
        *record.RECORD,
        *ABSENT,
    ),
    defaults=(
        *adapter.DEFAULTS,
        *datasets.DEFAULTS,
        *data.DEFAULTS,
        *training.DEFAULTS,
        *speed.DEFAULTS,
        *record.DEFAULTS,
    ),
    parse=_parse,
    recognises=_recognises,
    companions=deepspeed_companions,
)
"""The dialect."""
