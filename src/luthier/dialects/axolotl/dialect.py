"""Axolotl's files: YAML 1.1 with a base model, from the first release on to 0.18."""

from __future__ import annotations

from luthier.dialects.axolotl import adapter, data, datasets, record, speed, training
from luthier.dialects.axolotl.absent import ABSENT
from luthier.dialects.axolotl.model import MODEL, TOKENIZER
from luthier.dialects.document import Document, load_yaml
from luthier.dialects.tabular import TableDialect

_BESIDE = frozenset(
    ("datasets", "pretraining_dataset", "test_datasets", "micro_batch_size", "sequence_len", "num_epochs", "adapter")
)
"""Of these a file of Axolotl's has at least one beside its base model."""


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
        *training.TRAINING,
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
)
"""The dialect."""
