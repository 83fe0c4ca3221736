"""Run by a Python that has Axolotl: cases of a file's keys and a judged row (JSON on stdin) -> the texts it makes."""

from __future__ import annotations

import json
import os
import sys
import types

os.environ |= {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
sys.modules.setdefault("posthog", types.ModuleType("posthog"))

from axolotl.prompt_strategies import dpo, kto  # noqa: E402
from axolotl.utils.dict import DictDefault  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402


def main() -> None:
    asked = json.load(sys.stdin)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(asked["tokenizer"])
    out = []
    for case in asked["cases"]:
        keys = DictDefault(case["file"])
        kind = keys.datasets[0].type
        load = {"dpo": dpo.load, "kto": kto.load}[keys.rl]
        made = load(kind if isinstance(kind, str) else "user_defined.default", keys, dataset_idx=0)
        transform, more = (made[0], {"tokenizer": tokenizer}) if isinstance(made, tuple) else (made, {})
        row = transform(case["row"], **more)
        out.append([row[name] for name in ("prompt", "chosen", "rejected", "completion") if name in row])
    print("\n" + json.dumps(out))


if __name__ == "__main__":
    main()
