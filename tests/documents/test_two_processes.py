"""The documents' own files in two real processes, under the engines that they name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from luthier.plan.instead import installed
from tests.documents.conftest import StandIns, events_of
from tests.documents.test_documents import opens
from tests.processes import Forked

pytestmark = pytest.mark.slow

Change = Callable[[Path], None]


def exchange(file: str, *pairs: tuple[str, str]) -> Change:
    """What a user edits in a file: each text there is, for another."""

    def change(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        for before, after in pairs:
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        (folder / file).write_text(text, encoding="utf-8")

    return change


def as_it_is(folder: Path) -> None:
    """Nothing is changed."""


def launched_with(config: str) -> Change:
    """PEFT's command line under another of its launcher's files."""
    return exchange("peft_sft.sh", ("deepspeed_config_z3_qlora.yaml", config))


def axolotl_deepspeed(folder: Path) -> None:
    settings = {
        "zero_optimization": {"stage": 2, "overlap_comm": True, "contiguous_gradients": True},
        "bf16": {"enabled": "auto"},
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }
    (folder / "deepspeed_configs").mkdir()
    (folder / "deepspeed_configs" / "zero2.json").write_text(json.dumps(settings), encoding="utf-8")
    exchange("axolotl.yml", ("\ndeepspeed:\n", "\ndeepspeed: deepspeed_configs/zero2.json\n"))(folder)


AXOLOTL_FSDP = exchange(
    "axolotl.yml",
    ("\nfsdp:\n", "\nfsdp:\n  - full_shard\n  - auto_wrap\n"),
    (
        "\nfsdp_config:\n",
        "\nfsdp_config:\n"
        "  fsdp_limit_all_gathers: true\n"
        "  fsdp_sync_module_states: true\n"
        "  fsdp_offload_params: true\n"
        "  fsdp_use_orig_params: false\n"
        "  fsdp_cpu_ram_efficient_loading: true\n"
        "  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP\n"
        "  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer\n"
        "  fsdp_state_dict_type: FULL_STATE_DICT\n",
    ),
)


@dataclass(frozen=True)
class Together:
    """A file, what is changed in it, and the engine that it has to run under."""

    file: str
    change: Change
    engine: str
    adapter: bool


CASES = {
    "sft ds_zero_3": Together("chatglm3/sft.yaml", as_it_is, "ZeroRedundancy", False),
    "sft ds_zero_2": Together(
        "chatglm3/sft.yaml", exchange("chatglm3/sft.yaml", ("ds_zero_3", "ds_zero_2")), "ZeroRedundancy", False
    ),
    "peft z3 qlora": Together("peft_sft.sh", as_it_is, "ZeroRedundancy", True),
    "peft z3": Together("run_peft_deepspeed.sh", as_it_is, "ZeroRedundancy", True),
    "peft fsdp": Together("run_peft_fsdp.sh", as_it_is, "FullyShared", True),
    "peft fsdp qlora": Together("peft_sft.sh", launched_with("fsdp_config_qlora.yaml"), "FullyShared", True),
    "axolotl deepspeed": Together("axolotl.yml", axolotl_deepspeed, "ZeroRedundancy", False),
    "axolotl fsdp": Together("axolotl.yml", AXOLOTL_FSDP, "FullyShared", False),
}

SHORTER = (
    *("output.dir=out", "batch.steps=3", "evaluate.every=2", "evaluate.rows=8", "checkpoint.every=never"),
    *("evaluate.generation.max_new_tokens=4", "checkpoint.resume=auto", "output.hub.push=false"),
)


@pytest.mark.parametrize("name", CASES)
def test_it_trains_in_two_processes_under_its_engine_and_opens(
    name: str, documents: Path, stand_ins: StandIns, forked: Forked
) -> None:
    case = CASES[name]
    if case.engine == "ZeroRedundancy" and not installed("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    case.change(documents)
    words = [case.file, "--model", stand_ins.model, "--data", stand_ins.alpaca]
    if case.file.startswith("chatglm3"):
        words = [stand_ins.conversations, stand_ins.chatglm, case.file]
    elif case.file.endswith(".sh"):
        words[-1] = stand_ins.messages
    done = forked("train", *words, *SHORTER, cwd=documents, processes=2)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    events = events_of(documents / "out")
    begun = next(one for one in events if one["event"] == "started")
    assert begun["environment"]["engine"] == case.engine and begun["environment"]["processes"] == 2
    assert events[-1]["event"] == "finished" and events[-1]["step"] == 3
    assert any(one["event"] == "evaluated" for one in events)
    compared = next(one for one in events if one["event"] == "compared")
    assert compared["moved"] > 0 and compared["drifted"] == []
    base = None if case.file.startswith("chatglm3") else stand_ins.model
    opens(documents / "out" / "model", base, adapter=case.adapter)
