"""The documents' own files, end to end: untouched, with ``--model`` and ``--data`` alone.

Each is planned, trained by the real command, stopped on the way, gone on with, and its result opened in plain
transformers. What is not there yet is refused by the plan under the file's own keys.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from luthier.dialects import read
from luthier.dialects.document import load_yaml
from tests.documents.conftest import FILES, StandIns, events_of
from tests.documents.table import READMES, row
from tests.warm import Process

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Document:
    """A file that runs: which stand-in holds its rows, where it writes, what is done otherwise here."""

    file: str
    rows: str
    out: str
    adapter: bool
    evaluated: bool
    instead: tuple[str, ...]
    shorter: tuple[str, ...] = ()
    """Words that make a long run short."""

    def words(self, stand_ins: StandIns) -> list[str]:
        """What follows ``luthier plan`` and ``luthier train``."""
        rows = str(getattr(stand_ins, self.rows))
        if self.file.startswith("chatglm3"):
            return [rows, str(stand_ins.chatglm), self.file, *self.shorter]
        return [self.file, "--model", str(stand_ins.model), "--data", rows, *self.shorter]


SHORTER = ("batch.steps=80", "evaluate.every=40", "evaluate.generation.max_new_tokens=8", "checkpoint.every=50")


RUNNING = (
    Document(
        "axolotl.yml",
        "alpaca",
        "outputs/out",
        False,
        True,
        ("flash_attention",),
    ),
    Document("training_arguments.txt", "alpaca", "results", False, False, ("optim",)),
    Document("firefly.json", "table", "output/qwen1.5-7b-sft-lora", True, False, ("optim", "fp16")),
    Document("chatglm3/lora.yaml", "conversations", "output", True, True, (), SHORTER),
    Document("chatglm3/ptuning_v2.yaml", "conversations", "output", True, True, (), SHORTER),
    Document("chatglm3/sft.yaml", "conversations", "output", False, True, ("deepspeed",), SHORTER),
    Document(
        "peft_sft.sh",
        "messages",
        "out",
        True,
        True,
        ("use_flash_attn", "gradient_accumulation_steps"),
        ("output.dir=out", "checkpoint.resume=auto", "batch.steps=6", "checkpoint.every=2"),
    ),
)


def started(process: Process) -> bool:
    """Whether a step was taken before the run ended; it says so of the first one, whatever it records."""
    for _ in range(12000):
        if "\n  step " in process.said():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    return False


@pytest.mark.parametrize("document", RUNNING, ids=lambda one: one.file)
def test_it_is_planned_trained_stopped_gone_on_with_and_opens(
    document: Document, documents: Path, stand_ins: StandIns, luthier: Run
) -> None:
    words = document.words(stand_ins)
    plan = luthier("plan", *words, "--json", cwd=documents)
    assert plan.returncode == 0, plan.stderr
    told = json.loads(plan.stdout)
    assert told["refused"] == [] and told["device"] == "cpu"
    for key in document.instead:
        assert any(f"{key} (" in line and " becomes " in line for line in told["warnings"]), key

    run = documents / document.out
    with Process(["train", *words], cwd=documents) as first:
        assert started(first), first.said()
        first.send_signal(signal.SIGTERM)
        assert first.wait() == 128 + signal.SIGTERM, first.said()

    done = luthier("train", *words, cwd=documents)
    assert done.returncode == 0, done.stderr
    events = events_of(run)
    begun = [one for one in events if one["event"] == "started"]
    assert len(begun) == 2 and begun[1]["resumed_from"] and events[-1]["event"] == "finished"
    assert events[-1]["step"] == begun[1]["steps"]
    assert told["steps"] == begun[1]["steps"] if told["exact"] else abs(told["steps"] - begun[1]["steps"]) < 5
    assert any(one["event"] == "evaluated" for one in events) is document.evaluated
    assert (run / "report.html").stat().st_size > 10_000
    compared = next(one for one in events if one["event"] == "compared")
    assert compared["moved"] > 0 and compared["drifted"] == [] and (compared["unmoved"] > 0) is document.adapter
    opens(run / "model", None if document.file.startswith("chatglm3") else stand_ins.model, adapter=document.adapter)
    if not document.evaluated:
        rows = load_yaml((run / "recipe.yaml").read_text(encoding="utf-8"), "").value["data"]["train"][0]["path"]
        few = ("evaluate.rows=8", "--max-new-tokens", "8")
        measured = luthier("evaluate", run, "--data", rows, "--json", *few, cwd=documents)
        assert measured.returncode == 0, measured.stderr
        found = json.loads(measured.stdout)
        assert math.isfinite(found["figures"]["loss"]) and len(found["answers"]) == 8
    line = row(document.file, run, events, shortened=bool(document.shorter))
    for page in READMES:
        assert line in page.read_text(encoding="utf-8"), f"the table of {page.name} needs: {line}"


def opens(result: Path, base: Path | None, *, adapter: bool) -> None:
    """Plain transformers and PEFT open the result, and it is not what it began as, where that opens there too."""
    if adapter:
        base = Path(json.loads((result / "adapter_config.json").read_text())["base_model_name_or_path"])
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(result)
    ids = tokenizer("What does Ada do?", return_tensors="pt").input_ids
    if base is None:
        assert torch.isfinite(AutoModelForCausalLM.from_pretrained(result)(ids).logits).all()
        return
    before = AutoModelForCausalLM.from_pretrained(base)
    if len(tokenizer) > before.config.vocab_size:
        before.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    plain = before(ids).logits
    after = PeftModel.from_pretrained(before, result) if adapter else AutoModelForCausalLM.from_pretrained(result)
    logits = after(ids).logits
    assert torch.isfinite(logits).all() and not torch.equal(logits, plain)


def test_the_demo_answered_its_rows_at_each_evaluation_and_at_the_end(
    documents: Path, stand_ins: StandIns, luthier: Run
) -> None:
    (document,) = [one for one in RUNNING if one.file == "chatglm3/lora.yaml"]
    done = luthier("train", *document.words(stand_ins), cwd=documents)
    assert done.returncode == 0, done.stderr
    answered = [one for one in events_of(documents / document.out) if one["event"] == "answered"]
    assert [(one["step"], one["rows"]) for one in answered] == [(40, 50), (80, 50), (80, 80)]
    assert set(answered[-1]["metrics"]) == {"rouge-1", "rouge-2", "rouge-l", "bleu-4"}


def test_the_table_was_written_out_as_json_lines(documents: Path, stand_ins: StandIns, luthier: Run) -> None:
    words = ["firefly.json", "batch.steps=1", "--model", stand_ins.model, "--data", stand_ins.table]
    done = luthier("train", *words, cwd=documents)
    assert done.returncode == 0, done.stderr
    lines = (stand_ins.table / "jsonl" / "aspcoder_train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 640
    assert list(json.loads(lines[0])) == ["category", "conversation"]


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("axolotl.yml", 58),
        ("training_arguments.txt", 117),
        ("firefly.json", 30),
        ("chatglm3/lora.yaml", 28),
        ("chatglm3/ptuning_v2.yaml", 26),
        ("chatglm3/sft.yaml", 23),
        ("peft_sft.sh", 41),
    ],
)
def test_every_key_is_accounted_for(file: str, count: int) -> None:
    reading = read(FILES / file)
    own = [one for one in reading.accounts if one.outcome != "default" and one.place.startswith(str(FILES / file))]
    flags = [one for one in own if not one.key.startswith("launcher.")]
    assert len(flags) == count and all(one.known for one in reading.accounts)
    assert all(one.note or one.target for one in reading.accounts)
    assert len({one.key for one in own}) == len(own)


def test_the_files_are_what_they_are_called() -> None:
    dialects = {file.name: read(file).dialect for file in FILES.iterdir() if file.is_file()}
    assert dialects == {
        "axolotl.yml": "axolotl",
        "axolotl_qlora.yml": "axolotl",
        "firefly_qlora.json": "firefly",
        "training_arguments.txt": "training_arguments",
        "firefly.json": "firefly",
        "peft_sft.sh": "peft_sft",
        "run_peft_deepspeed.sh": "peft_sft",
        "run_peft_fsdp.sh": "peft_sft",
    }
    assert {read(file).dialect for file in (FILES / "chatglm3").glob("*.yaml")} == {"chatglm3"}
    assert load_yaml((FILES / "configs" / "fsdp_config.yaml").read_text(), "x").value["distributed_type"] == "FSDP"
