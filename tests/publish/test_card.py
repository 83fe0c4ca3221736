"""The card: the hub's library reads it, and nothing in it is obeyed."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

from luthier.publish.card import Facts, card, plain, short
from luthier.record.events import Answered, Evaluated, Prepared, Started, Stepped

EVIL = "a|b\n# <script>alert(1)</script> [x](javascript:y) ```\n---\ntags: [owned]"


def facts(name: str = "me/it", base: str = "org/base", source: str = "org/rows") -> Facts:
    recipe = {
        "model": {"path": base},
        "method": {"kind": "sft"},
        "adapter": {"kind": "none"},
        "data": {"train": [{"path": source}, {"path": "/home/me/secret place/rows.jsonl"}], "system": EVIL},
        "output": {"dir": "/home/me/runs/it"},
        "track": {"project": "hidden"},
    }
    figures = {"epoch": 0.5, "lr": 0.1, "gradient_norm": 2.0, "tokens": 30, "targets": 10, "seconds": 0.5}
    steps = [Stepped(step=n, loss=5 / n, waited=0.0, memory=7, **figures) for n in range(1, 101)]
    prepared = Prepared(
        step=0,
        name=EVIL,
        documents=9,
        tokens=90,
        targets=40,
        packs=2,
        cached=False,
        seconds=1,
        summary={"kept": 9, "too_long": 3, "none": 0, "by_source": [1]},
    )
    answered = Answered(step=100, when="after", rows=1, metrics={EVIL: 0.25}, file="x", seconds=1)
    measured = Evaluated(step=100, loss=1.5, targets=4, seconds=1, metrics={"accuracy": 0.5})
    started = Started(step=0, steps=100, device="cpu", environment={"torch": "2", "platform": "secret host"})
    return Facts(name, recipe, (started, prepared, *steps, measured, answered))


def test_the_front_matter_is_the_run_s_and_nobody_else_s() -> None:
    read = ModelCard(card(facts()))
    assert read.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["luthier", "sft"],
        "base_model": "org/base",
        "datasets": ["org/rows"],
    }
    hostile = ModelCard(card(facts(EVIL, EVIL, EVIL)))
    assert hostile.data.tags == ["luthier", "sft"] and hostile.data.base_model is None
    assert hostile.data.datasets is None


def test_hostile_names_stay_text() -> None:
    text = card(facts(EVIL, EVIL, EVIL))
    outside, code = text.split("## Recipe")[0], text.split("## Recipe")[1]
    assert "<script>" not in outside and "](javascript" not in outside and "\n# <" not in outside
    fence = code.strip().splitlines()[0].removesuffix("yaml")
    assert set(fence) == {"`"} and len(fence) > 3 and code.count(f"\n{fence}\n") == 1
    rows = [line for line in outside.splitlines() if line.startswith("| ")]
    assert all(line.count("|") - 1 in (2, 4, 5) for line in rows)


def test_no_path_of_the_machine_and_no_tracker_is_in_it() -> None:
    text = card(facts(base="/home/me/models/mine"))
    assert "/home" not in text and "hidden" not in text and "secret host" not in text
    assert "rows.jsonl" in text and "on mine." in text


def test_figures_are_those_of_the_events() -> None:
    text = card(facts())
    curve = [line for line in text.splitlines() if line.startswith("| ") and "1.00e-01" in line]
    assert len(curve) == 12 and curve[0].startswith("| 1 |") and curve[-1].startswith("| 100 |")
    assert "| 100 | evaluation rows | loss | 1.5000 |" in text and "| 100 | evaluation rows | accuracy | 0.5 |" in text
    assert "| 100 | test rows | " in text and "kept 9; too long 3" in text.replace("&#59;", ";")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/a/b/c.jsonl", "c.jsonl"),
        ("C:\\x\\y.csv", "y.csv"),
        ("~/rows/", "rows"),
        ("org/name", "org/name"),
        ("../up/z", "z"),
    ],
)
def test_paths_of_a_machine_are_told_by_their_last_part(path: str, told: str) -> None:
    assert short(path) == told
    assert plain(told).replace("&#95;", "_") == told
