"""Run by a Python that has Axolotl: cases of a file's keys and a row (JSON on stdin) -> Axolotl's ids and labels."""

from __future__ import annotations

import json
import os
import sys
import types

os.environ |= {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
sys.modules.setdefault("posthog", types.ModuleType("posthog"))

import datasets  # noqa: E402
from axolotl.utils.data.wrappers import get_dataset_wrapper  # noqa: E402
from axolotl.utils.dict import DictDefault  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402


def main() -> None:
    asked = json.load(sys.stdin)
    out = []
    for case in asked["cases"]:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(asked["tokenizer"])
        keys = DictDefault({"sequence_len": 4096, "train_on_inputs": False, "dataset_num_proc": 1, **case["file"]})
        source = keys.datasets[0]
        base, _, style = source.type.partition(":") if isinstance(source.type, str) else ("", "", "")
        rows = datasets.Dataset.from_list([case["row"]])
        made, _ = get_dataset_wrapper(source, tokenizer, keys, base, rows, style or None)
        row = next(iter(made))
        out.append({"ids": list(row["input_ids"]), "labels": list(row["labels"])})
    print("\n" + json.dumps(out))


if __name__ == "__main__":
    main()
