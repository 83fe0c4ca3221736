"""Run by a Python that has TRL: cases of settings and a row (JSON on stdin) -> the ids and labels of its SFTTrainer."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import datasets
import trl
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

TINY = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}


def main() -> None:
    asked = json.load(sys.stdin)
    out = []
    for case in asked["cases"]:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(asked["tokenizer"])
        named = Path(trl.__file__).parent / "chat_templates" / f"{case.get('template_file')}.jinja"
        tokenizer.chat_template = case.get("template") or named.read_text(encoding="utf-8")
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=1, **TINY))
        with tempfile.TemporaryDirectory() as folder:
            settings = SFTConfig(output_dir=folder, use_cpu=True, bf16=False, report_to=[], **case["settings"])
            rows = datasets.Dataset.from_list([case["row"]])
            trainer = SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
            batch = trainer.data_collator([next(iter(trainer.train_dataset))])
        out.append({"ids": batch["input_ids"][0].tolist(), "labels": batch["labels"][0].tolist()})
    print("\n" + json.dumps(out))


if __name__ == "__main__":
    main()
