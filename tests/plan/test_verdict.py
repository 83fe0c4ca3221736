"""A file's refusals and exchanges are told under the file's own keys."""

from __future__ import annotations

import json
from typing import Any

from luthier.dialects import read_text
from luthier.plan.verdict import own_key, verdict

FILE: dict[str, Any] = {
    "output_dir": "out",
    "model_name_or_path": "m",
    "train_file": "a.jsonl",
    "template_name": "qwen",
    "train_mode": "lora",
    "optim": "paged_adamw_32bit",
    "bf16": True,
    "report_to": "neptune",
}


def test_a_refusal_names_the_key_and_the_line() -> None:
    found = verdict(
        read_text(json.dumps({**FILE, "torch_compile": True, "torch_compile_mode": "slow"}, indent=1), "f.json", ())
    )
    (fault,) = found.refused
    assert fault.place == "f.json:11: torch_compile_mode (runtime.compile_mode)" and fault.remedy


def test_an_exchange_names_the_key() -> None:
    found = verdict(read_text(json.dumps({**FILE, "use_cpu": True}, indent=1), "f.json", ()))
    assert found.refused == () and found.recipe.optimizer.kind == "adamw"
    told = [one.partition(":")[0] for one in found.instead]
    assert [one for one in told if one != "bf16 (precision.compute)"] == [
        "optim (optimizer.kind)",
        "report_to (track.to)",
    ]


def test_our_own_keys_are_told_once() -> None:
    text = (
        "model: {path: m}\ndata: {train: [{path: a}]}\noptimizer: {kind: paged_adamw_32bit}\n"
        "runtime: {device: cpu}\nparallel: {tensor: 2}\n"
    )
    reading = read_text(text, "r.yaml")
    found = verdict(reading)
    assert found.instead[0].startswith("optimizer.kind: paged_adamw_32bit becomes adamw")
    assert [fault.place for fault in found.refused] == ["r.yaml:5: parallel.tensor (parallel)"]
    assert own_key(reading, "optimizer.kind") == ("optimizer.kind", "r.yaml:3") and own_key(reading, "seed") == ("", "")


def test_of_several_keys_the_one_that_asks_for_something_is_named() -> None:
    text = (
        "base_model: m\nload_in_8bit: false\nload_in_4bit: true\nadapter: qlora\ndatasets: [{path: a, type: alpaca}]\n"
    )
    assert own_key(read_text(text, "a.yml"), "quantise.bits") == ("load_in_4bit", "a.yml:3")
