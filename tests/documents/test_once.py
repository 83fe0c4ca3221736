"""Further files, each planned and trained once by the real command: other adapters, other models, other objectives.
That a run is stopped and gone on with is shown by the documents' own files."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.dialects import read
from luthier.recipe import Recipe
from tests.conftest import write_jsonl
from tests.documents.conftest import FILES, StandIns, events_of
from tests.documents.test_preferences import FILES as PREFERENCES
from tests.documents.test_preferences import rows

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SHORT = ("batch.steps=3", "evaluate.every=never", "checkpoint.every=never", "track.every=1", "batch.accumulation=2")
CHATGLM3 = (
    "batch.steps=3",
    "evaluate.every=never",
    "evaluate.generate=false",
    "checkpoint.every=never",
    "track.every=1",
)


def trained(words: list[str | Path], folder: Path, luthier: Run) -> list[dict[str, Any]]:
    """The steps of a run in ``folder``, once it is planned without a refusal."""
    plan = luthier("plan", *words, "--json", cwd=folder)
    assert plan.returncode == 0 and json.loads(plan.stdout)["refused"] == [], plan.stderr
    done = luthier("train", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in folder.rglob("events.jsonl"))
    events = events_of(run)
    assert events[-1]["event"] == "finished" and events[-1]["step"] == 3
    compared = next(one for one in events if one["event"] == "compared")
    assert compared["moved"] > 0 and compared["unmoved"] > 0 and compared["drifted"] == []
    assert (run / "model" / "adapter_config.json").exists()
    steps = [one for one in events if one["event"] == "step"]
    assert [one["step"] for one in steps] == [1, 2, 3] and all(math.isfinite(one["loss"]) for one in steps)
    return steps


@pytest.mark.parametrize("file", ["lora.yaml", "ptuning_v2.yaml"])
def test_chatglm3s_files_train_a_llama(file: str, stand_ins: StandIns, tmp_path: Path, luthier: Run) -> None:
    shutil.copy(FILES / "chatglm3" / file, tmp_path)
    trained([stand_ins.conversations, stand_ins.model, file, *CHATGLM3], tmp_path, luthier)
    (kind,) = {json.loads(path.read_text())["peft_type"] for path in tmp_path.rglob("adapter_config.json")}
    assert kind == {"lora.yaml": "LORA", "ptuning_v2.yaml": "PREFIX_TUNING"}[file]


@pytest.mark.parametrize(("file", "form"), [("axolotl_qlora.yml", "alpaca"), ("firefly_qlora.json", "firefly")])
def test_qlora_files_train_on_four_bits(
    file: str, form: str, stand_ins: StandIns, tmp_path: Path, luthier: Run
) -> None:
    shutil.copy(FILES / file, tmp_path)
    talk = [{"human": "What does Ada do?", "assistant": "Ada paints boats."}]
    talks = write_jsonl(tmp_path / "rows.jsonl", [{"category": "a", "conversation": talk}] * 40)
    data = stand_ins.alpaca if form == "alpaca" else talks
    recipe: Recipe = read(FILES / file).recipe
    assert (recipe.quantise.bits, recipe.quantise.kind, recipe.adapter.kind) == (4, "nf4", "lora")
    steps = trained([file, "--model", stand_ins.model, "--data", data, *SHORT], tmp_path, luthier)
    assert steps[-1]["loss"] < 7


@pytest.mark.parametrize(
    ("file", "kind", "first"),
    [
        ("axolotl_ipo.yml", "ipo", 25.0),
        ("axolotl_simpo.yml", "simpo", math.log(1 + math.exp(0.5))),
        ("axolotl_orpo.yml", "orpo", None),
    ],
)
def test_files_of_preferences_begin_where_their_papers_say(
    file: str, kind: str, first: float | None, stand_ins: StandIns, tmp_path: Path, luthier: Run
) -> None:
    """At the start the answers are as likely as the reference has them, and by token nearly as likely as one another;
    ORPO begins at the likelihood of the chosen ones and a tenth of ln 2."""
    shutil.copy(PREFERENCES / file, tmp_path)
    data = write_jsonl(tmp_path / "rows.jsonl", rows("conversation"))
    assert read(PREFERENCES / file).recipe.method.kind == kind
    begun, *_ = trained([file, "--model", stand_ins.model, "--data", data, *SHORT], tmp_path, luthier)
    wanted = begun["metrics"]["nll"] + 0.1 * math.log(2) if first is None else first
    assert begun["loss"] == pytest.approx(wanted, abs=0.05)
    assert {"rewards/chosen", "logps/chosen"} <= set(begun["metrics"])
