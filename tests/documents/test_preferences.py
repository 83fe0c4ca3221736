"""Files of Axolotl and Firefly that learn from judged answers, end to end: untouched but for their length."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.dialects import read
from tests.conftest import write_jsonl
from tests.documents.conftest import StandIns, events_of
from tests.documents.test_documents import started
from tests.warm import Process

pytestmark = pytest.mark.slow

FILES = Path(__file__).parent / "preferences"
STEPS = 12
SHORTER = (f"batch.steps={STEPS}", "checkpoint.every=4")

LN_2 = (math.log(2) - 0.005, math.log(2) + 0.005)

RUNNING: dict[str, tuple[str, str, tuple[float, float], tuple[str, ...]]] = {
    "axolotl dpo": ("axolotl_dpo.yml", "conversation", LN_2, ()),
    "axolotl kto": ("axolotl_kto.yaml", "labelled", (0.09, 0.51), ()),
    "firefly dpo": ("firefly_dpo.json", "turns", LN_2, ("track.every=1",)),
}
"""File, form of its rows, bounds of the loss before the first step, and what is said beside the file."""


def rows(form: str) -> list[dict[str, Any]]:
    made = []
    for number in range(96):
        name, verb = ("Mira", "Tom", "Ada")[number % 3], ("paints", "sells", "counts", "finds")[number % 4]
        asked = {"role": "user", "content": f"What does {name} do, in {number % 7} words?"}
        good, bad = f"{name} {verb} boats.", f"Boats {verb}, or {number} of them do."
        answers = [{"role": "assistant", "content": one} for one in (good, bad)]
        if form == "conversation":
            made.append({"conversation": [asked], "chosen": answers[0], "rejected": answers[1]})
        elif form == "turns":
            made.append({"chosen": [asked, answers[0]], "rejected": [asked, answers[1]]})
        else:
            wanted = number % 3 > 0
            made.append({"prompt": asked["content"], "completion": good if wanted else bad, "label": wanted})
    return made


@pytest.mark.parametrize("name", RUNNING)
def test_it_is_planned_trained_stopped_gone_on_with_and_opens(
    name: str, stand_ins: StandIns, tmp_path: Path, luthier: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file, form, first_loss, more = RUNNING[name]
    shutil.copy(FILES / file, tmp_path / file)
    data = write_jsonl(tmp_path / "rows.jsonl", rows(form))
    words = [file, "--model", str(stand_ins.model), "--data", str(data), *SHORTER, *more]
    plan = luthier("plan", *words, "--json")
    assert plan.returncode == 0 and json.loads(plan.stdout)["refused"] == [], plan.stderr
    run = tmp_path / read(FILES / file).recipe.output.dir
    with Process(["train", *words], cwd=tmp_path) as process:
        assert started(process), process.said()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM, process.said()
    done = luthier("train", *words)
    assert done.returncode == 0, done.stderr
    events = events_of(run)
    steps = [one for one in events if one["event"] == "step"]
    assert events[-1]["event"] == "finished" and events[-1]["step"] == STEPS
    assert [bool(one["resumed_from"]) for one in events if one["event"] == "started"] == [False, True]
    assert steps[0]["step"] == 1 and first_loss[0] <= steps[0]["loss"] <= first_loss[1]
    assert {"rewards/chosen", "logps/chosen"} <= {key for one in steps for key in one["metrics"]}
    compared = next(one for one in events if one["event"] == "compared")
    assert compared["moved"] > 0 and compared["drifted"] == []
    _opens(run / "model", stand_ins.model)


def _opens(result: Path, base: Path) -> None:
    """Plain transformers and PEFT open the result, once the base has rows for the tokens that the file adds."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(result)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    ids = tokenizer("What does Ada do?", return_tensors="pt").input_ids
    with torch.no_grad():
        plain = model(ids).logits
        logits = PeftModel.from_pretrained(model, result)(ids).logits
    assert torch.isfinite(logits).all() and not torch.equal(logits, plain)
