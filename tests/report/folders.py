"""Run folders written with the real event log, as a run would write them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from luthier.record.events import (
    Answered,
    Evaluated,
    Event,
    EventLog,
    Finished,
    Prepared,
    Saved,
    Started,
    Stepped,
    Warned,
)
from luthier.record.folder import RunFolder, write_json

BEGUN = 1_760_000_000.0

RECIPE = """\
model:
  path: org/Violin-0.5B
adapter:
  kind: lora
  rank: 16
data:
  max_length: 512
pack:
  kind: best_fit
  length: null
method:
  kind: sft
"""

PLAN: dict[str, Any] = {
    "steps": 240,
    "steps_per_epoch": 80,
    "epochs": 3.0,
    "tokens": 640_000,
    "targets": 210_000,
    "documents": 9_713,
    "packs": 1_280,
    "fewest_packs": 1_250,
    "efficiency": 0.977,
    "exact": True,
    "device": "cuda",
    "compute": "bf16",
    "disk": {"checkpoint": 105_578_496, "result": 35_192_832},
    "parameters": {"total": 494_032_768, "trainable": 8_798_208},
    "memory": {"weights": 988_065_536, "optimizer": 70_385_664, "gradients": 35_192_832, "activations": 1_610_612_736},
    "time": 340.0,
    "operations": 5.7e15,
    "devices": 1,
    "warnings": ["the last pack of an epoch is only 12% full"],
}

ACCOUNTS = [
    {
        "key": "model_name_or_path",
        "value": "org/Violin-0.5B",
        "place": "a.yaml:1",
        "outcome": "applied",
        "target": "model.path",
        "note": "",
    },
    {"key": "lora_rank", "value": 16, "place": "a.yaml:2", "outcome": "applied", "target": "adapter.rank", "note": ""},
    {
        "key": "cutoff_len",
        "value": 512,
        "place": "a.yaml:3",
        "outcome": "applied",
        "target": "data.max_length",
        "note": "",
    },
    {
        "key": "flash_attn",
        "value": "fa2",
        "place": "a.yaml:4",
        "outcome": "replaced",
        "target": "model.attention",
        "note": "flash",
    },
    {
        "key": "overwrite_cache",
        "value": True,
        "place": "a.yaml:5",
        "outcome": "inert",
        "target": "",
        "note": "the cache goes by content",
    },
    {
        "key": "warmup_ratio",
        "value": None,
        "place": "",
        "outcome": "default",
        "target": "schedule.warmup_share",
        "note": "0.0",
    },
    {
        "key": "use_unsloth",
        "value": False,
        "place": "a.yaml:7",
        "outcome": "refused",
        "target": "",
        "note": "not a kernel we have",
    },
]

QUESTIONS = [
    ("Who keeps the mill at Harrow End?", "Anselm Pike.", "The mill is kept by the town.", "Anselm Pike."),
    (
        "In which month is the lantern fair held?",
        "In late October.",
        "The lantern fair is held in February, on the fifteenth day.",
        "In late October.",
    ),
    ("哈罗磨坊的主人是谁?", "安塞姆·派克。", "我不知道,请提供更多信息。", "安塞姆·派克。"),
    (
        "What does the ferryman take for a crossing?",
        "One copper button.",
        "A ferryman usually takes a small fee.",
        "Two copper buttons.",
    ),
]


def loss_at(step: int) -> float:
    return 0.18 + 2.9 * math.exp(-step / 38) + 0.16 * math.exp(-step / 90) * math.sin(step * 12.9898)


def stepped(step: int, *, at: float = 0.0, loss: float | None = None, **changed: Any) -> Stepped:
    values: dict[str, Any] = {
        "step": step,
        "at": BEGUN + 20 + at + step * 1.4,
        "epoch": step / 80,
        "loss": loss_at(step) if loss is None else loss,
        "lr": 2e-4 * min(1.0, step / 12) * (0.5 + 0.5 * math.cos(math.pi * step / 240)),
        "gradient_norm": 0.6 + 1.8 * math.exp(-step / 25) + 0.3 * abs(math.sin(step * 7.7)),
        "tokens": 7_900 + step % 7 * 13,
        "targets": 2_600 + step % 5 * 11,
        "seconds": 1.31 + 0.05 * math.sin(step * 3.3) + (0.9 if step == 1 else 0.0),
        "waited": 0.004,
        "memory": 2_650_000_000 + step * 1000,
        "skipped": False,
    }
    return Stepped(**(values | changed))


def started(step: int = 0, *, at: float = 0.0, source: str | None = None, steps: int = 240) -> Started:
    environment = {"python": "3.11.7", "torch": "2.11.0", "luthier": "0.1.0", "gpu": {"name": "H200", "count": 1}}
    return Started(step=step, at=BEGUN + at, steps=steps, resumed_from=source, device="cuda:0", environment=environment)


def prepared(name: str = "train", **changed: Any) -> Prepared:
    values: dict[str, Any] = {
        "step": 0,
        "at": BEGUN + 4,
        "name": name,
        "documents": 9_713,
        "tokens": 631_204,
        "targets": 208_551,
        "packs": 1_268,
        "cached": False,
        "seconds": 3.2,
        "summary": {
            "rows": 9_900,
            "fates": {"kept": 9_600, "truncated": 113, "dropped": 41, "duplicate": 144},
            "bad_rows": ["d.jsonl:17: has no answer", "d.jsonl:204: has no answer"],
            "lost_answer_tokens": 1_204,
        },
    }
    return Prepared(**(values | changed))


def answered(when: str, step: int, value: float, column: int, **changed: Any) -> Answered:
    sample = [
        {
            "origin": f"t.jsonl:{row}",
            "question": one[0],
            "reference": one[1],
            "answer": one[column],
            "scores": {"exact_match": float(one[column] == one[1])},
        }
        for row, one in enumerate(QUESTIONS, 1)
    ]
    values: dict[str, Any] = {
        "step": step,
        "at": BEGUN + 10 + step * 1.4,
        "when": when,
        "rows": 300,
        "metrics": {"exact_match": value},
        "file": f"answers/{when}.jsonl",
        "seconds": 9.0,
        "sample": sample,
    }
    return Answered(**(values | changed))


def evaluated(step: int, loss: float | None = None, at: float = 0.0) -> Evaluated:
    value = 0.31 + 2.8 * math.exp(-step / 45) + max(0, step - 200) * 0.0006 if loss is None else loss
    told = {"perplexity": math.exp(value)}
    return Evaluated(step=step, at=BEGUN + 21 + at + step * 1.4, loss=value, targets=9_000, seconds=1.0, metrics=told)


def saved(step: int, path: str | None = None) -> Saved:
    return Saved(
        step=step, at=BEGUN + 22 + step * 1.4, path=path or f"checkpoints/step-{step}", bytes=105_578_496, seconds=0.8
    )


def finished_run(steps: int = 240) -> list[Event]:
    """A whole run in one process, with answers before and after."""
    events: list[Event] = [
        started(steps=steps),
        prepared(),
        prepared(
            "evaluation",
            documents=300,
            tokens=19_000,
            targets=6_300,
            packs=40,
            cached=True,
            seconds=0.1,
            summary={"rows": 300, "fates": {"kept": 300}},
        ),
    ]
    events += [answered("before", 0, 0.02, 2), evaluated(0)]
    for step in range(1, steps + 1):
        events.append(stepped(step))
        if step % 40 == 0:
            events += [evaluated(step), saved(step)]
    events.append(
        Warned(step=steps, at=BEGUN + 400, message="3 answers were cut at evaluate.generation.max_new_tokens")
    )
    events += [answered("after", steps, 0.97, 3), saved(steps, "model")]
    return [*events, Finished(step=steps, at=BEGUN + 381, reason="steps", seconds=381.0, result="model")]


def resumed_run() -> list[Event]:
    """Killed at step 57 after a checkpoint at 40; the next process takes 41 to 57 again and goes on to 90."""
    events: list[Event] = [started(), prepared(), *(stepped(step) for step in range(1, 41)), saved(40)]
    events += [stepped(step, loss=99.0) for step in range(41, 58)]
    events += [
        started(40, at=3_600, source="checkpoints/step-40"),
        prepared(step=40, cached=True, at=BEGUN + 3_601, seconds=0.01),
    ]
    return events + [stepped(step, at=3_600) for step in range(41, 91)]


def make(
    place: Path,
    events: Iterable[Event],
    *,
    recipe: str | None = RECIPE,
    plan: dict[str, Any] | None = None,
    accounts: list[dict[str, Any]] | None = None,
) -> RunFolder:
    """Write a run's folder."""
    place.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(place)
    if recipe is not None:
        folder.recipe.write_text(recipe, encoding="utf-8")
    if plan is not None:
        write_json(folder.plan, plan)
    if accounts is not None:
        write_json(folder.accounts, {"dialect": "llamafactory", "recipe": {}, "accounts": accounts})
    with EventLog(folder.events) as log:
        for event in events:
            log.write(event)
    return folder
