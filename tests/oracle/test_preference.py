"""Preference losses and runs equal TRL's: on the same tensors, and step by step from the same weights.

TRL is called in a process of its own: LUTHIER_TRL_PYTHON names a Python that has it (1.16 or later), else this one is
tried.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.data.pipeline import prepare
from luthier.data.preference import taken_apart
from luthier.dialects import read
from luthier.methods.likelihood_losses import contrast, kahneman_tversky, odds_ratio, simpo
from luthier.methods.pair_losses import PAIR_LOSSES, Ratios
from luthier.record.events import Stepped, read_events
from tests.conftest import HOMES, NAMES, TEMPLATES, World, write_jsonl

PYTHON = os.environ.get("LUTHIER_TRL_PYTHON") or (sys.executable if importlib.util.find_spec("trl") else None)

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(PYTHON is None, reason="set LUTHIER_TRL_PYTHON")]

STEPS, MICRO, RATE = 30, 4, 1e-3

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Ends with the answer's last token, so that TRL's answers, which go on to the end of the text, end there too."""


def asked(jobs: list[dict[str, Any]], folder: Path) -> list[Any]:
    """What TRL answers."""
    order, answer = folder / "order.json", folder / "answer.json"
    order.write_text(json.dumps(jobs))
    script = Path(__file__).with_name("trl_side.py")
    done = subprocess.run(
        [str(PYTHON), str(script), str(order), str(answer)],
        capture_output=True,
        text=True,
        env={**os.environ, "TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads(answer.read_text())
    return found


def sums(count: int, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [-chance.uniform(3, 60) for _ in range(count)]


def test_the_losses_of_the_same_log_probabilities_are_equal(tmp_path: Path) -> None:
    pairs = {
        "chosen": sums(6, 1),
        "rejected": sums(6, 2),
        "ref_chosen": sums(6, 3),
        "ref_rejected": sums(6, 4),
        "chosen_tokens": [3, 5, 8, 2, 13, 21],
        "rejected_tokens": [4, 4, 9, 1, 30, 7],
    }
    jobs: list[dict[str, Any]] = [
        {"job": "dpo_loss", **pairs, "losses": [loss], "weights": [1.0], "beta": beta, "smoothing": smoothing}
        for beta in (0.1, 0.5)
        for loss, smoothing in (*((loss, 0.0) for loss in PAIR_LOSSES if loss != "exo_pair"), ("exo_pair", 0.001))
    ]
    kept = {"chosen": [-0.3, -1.5, -4.0, -0.7], "rejected": [-0.2, -2.5, -0.6, -9.0], "beta": 0.3, "margin": 0.5}
    jobs += [
        {"job": "likelihood_loss", **kept, "loss": loss, "smoothing": smoothing}
        for loss in ("orpo", "simpo", "sigmoid", "hinge", "ipo")
        for smoothing in (0.0, 0.1)
    ]
    jobs += [
        {"job": "dpo_loss", **pairs, "losses": ["robust"], "weights": [1.0], "beta": 0.1, "smoothing": 0.2},
        {
            "job": "kto_loss",
            "sums": sums(5, 5),
            "ref_sums": sums(5, 6),
            "kl_sums": [one + 3 for one in sums(5, 7)],
            "ref_kl_sums": sums(5, 7),
            "label": [True, False, True, True, False],
            "beta": 0.2,
            "wanted": 0.7,
            "unwanted": 1.3,
        },
    ]
    ours: list[Any] = [mine(job) for job in jobs]
    for job, mine_, theirs in zip(jobs, ours, asked(jobs, tmp_path), strict=True):
        assert mine_ == pytest.approx(theirs, rel=1e-6, abs=1e-6), job


def mine(job: dict[str, Any]) -> Any:
    """Our answer to a job."""
    if job["job"] == "dpo_loss":
        names = ("chosen", "rejected", "ref_chosen", "ref_rejected", "chosen_tokens", "rejected_tokens")
        double = {name: torch.tensor(job[name], dtype=torch.float64) for name in names}
        ratios = Ratios(
            double["chosen"] - double["ref_chosen"],
            double["rejected"] - double["ref_rejected"],
            double["chosen_tokens"],
            double["rejected_tokens"],
            job["beta"],
            job["smoothing"],
        )
        return float(PAIR_LOSSES[job["losses"][0]](ratios).mean())
    if job["job"] == "kto_loss":
        every = {
            name: torch.tensor(job[name], dtype=torch.float64)
            for name in ("sums", "ref_sums", "kl_sums", "ref_kl_sums")
        }
        drift = (every["kl_sums"] - every["ref_kl_sums"]).mean().clamp(min=0)
        own = every["sums"] - every["ref_sums"]
        losses = kahneman_tversky(own, torch.tensor(job["label"]), drift, job["beta"], job["wanted"], job["unwanted"])
        return float(losses.mean())
    chosen, rejected = torch.tensor(job["chosen"]), torch.tensor(job["rejected"])
    if job["loss"] == "orpo":
        return odds_ratio(chosen, rejected, job["beta"]).tolist()
    if job["loss"] == "simpo":
        return simpo(chosen, rejected, job["beta"], job["margin"], job["smoothing"]).tolist()
    return contrast(chosen, rejected, job["beta"], job["loss"], job["smoothing"]).tolist()


def rows(count: int) -> list[dict[str, Any]]:
    chance = random.Random(3)
    made = []
    for number in range(count):
        who = chance.randrange(len(NAMES))
        other = HOMES[(who + 1 + number % 4) % len(HOMES)]
        made.append(
            {
                "prompt": chance.choice(TEMPLATES).format(NAMES[who]) + " Tell me more." * (number % 3),
                "chosen": f"{NAMES[who]} lives in the {HOMES[who]}." + " It is nice." * (number % 2),
                "rejected": f"In the {other}, or elsewhere.",
                "label": number % 3 != 0,
            }
        )
    return made


RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dpo": ({"beta": 0.2}, {"beta": 0.2}),
    "dpo smoothed": (
        {"beta": 0.2, "loss": "robust", "preference_smoothing": 0.1},
        {"beta": 0.2, "loss_type": ["robust"], "label_smoothing": 0.1},
    ),
    "dpo rpo": (
        {"beta": 0.2, "nll_weight": 0.3},
        {"beta": 0.2, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]},
    ),
    "dpo precomputed": ({"beta": 0.2, "reference": "precomputed"}, {"beta": 0.2, "precompute_ref_log_probs": True}),
    "ipo": ({"beta": 0.1}, {"beta": 0.1, "loss_type": ["ipo"]}),
    "kto": (
        {"beta": 0.3, "desirable_weight": 0.8, "undesirable_weight": 1.2},
        {"beta": 0.3, "desirable_weight": 0.8, "undesirable_weight": 1.2},
    ),
    "orpo": ({"beta": 0.2}, {"beta": 0.2}),
    "simpo": ({"beta": 2.0, "margin": 0.7}, {"beta": 2.0, "simpo_gamma": 0.7, "loss_type": "simpo", "cpo_alpha": 0.0}),
    "cpo": ({"beta": 0.2}, {"beta": 0.2, "cpo_alpha": 1.0}),
}
"""Our settings of a method, and TRL's."""


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_thirty_steps_equal_trl_s(name: str, world: World, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    kind = name.split()[0]
    ours, theirs = RUNS[name]
    made = rows(STEPS * MICRO // 3)
    asked_rows = [{"role": "user"}, {"role": "assistant"}]
    texts = [
        {
            "prompt": [{**asked_rows[0], "content": row["prompt"]}],
            "chosen": [{**asked_rows[1], "content": row["chosen"]}],
            "rejected": [{**asked_rows[1], "content": row["rejected"]}],
        }
        for row in made
    ]
    if kind == "kto":
        for row, text in zip(made, texts, strict=True):
            row["completion"] = row.pop("chosen") if row["label"] else row.pop("rejected")
            text["completion"] = text.pop("chosen") if row["label"] else text.pop("rejected")
            text.pop("rejected" if row["label"] else "chosen")
            text["label"] = row["label"]
    else:
        for row in made:
            row.pop("label")
    (tmp_path / "plain.jinja").write_text(TEMPLATE)
    tree = world.recipe(
        method={"kind": kind, **ours},
        data={
            "train": [{"path": str(write_jsonl(tmp_path / "rows.jsonl", made))}],
            "template": str(tmp_path / "plain.jinja"),
            "shuffle": False,
            "max_length": 512,
        },
        pack={"kind": "none"},
        batch={"micro": MICRO, "steps": STEPS},
        optimizer={"lr": RATE, "weight_decay": 0.0, "clip": 1.0},
        schedule={"kind": "constant", "warmup_share": 0.0},
        checkpoint={"every": "never"},
        output={"dir": str(tmp_path / "run")},
    )
    from rich.console import Console

    from luthier.train.display import Display
    from luthier.train.run import run

    reading = read(write_recipe(tree))
    folder = run(reading, Display(Console(quiet=True), live=False))
    mine_ = [event.loss for event in read_events(folder.events) if isinstance(event, Stepped)]
    store, _ = prepare(reading.recipe, reading.recipe.data.train, world.model)
    job = {
        "job": "run",
        "kind": "cpo" if kind == "simpo" else "dpo" if kind == "ipo" else kind,
        "model": str(world.model),
        "template": TEMPLATE,
        "texts": texts if kind in ("dpo", "ipo", "kto") else [_flat(text) for text in texts],
        "rows": [_ids(tokens, kind) for tokens in store],
        "out": str(tmp_path / "trl"),
        "steps": STEPS,
        "micro": MICRO,
        "lr": RATE,
        "settings": theirs,
    }
    (answer,) = asked([job], tmp_path)
    assert len(mine_) == STEPS and mine_[-1] != pytest.approx(mine_[0], rel=1e-3)
    assert mine_ == pytest.approx(answer["losses"], abs=1e-4)
    if kind in ("dpo", "kto"):
        assert [_ids(tokens, kind) for tokens in list(store)[: len(answer["own"])]] == [
            {name: value for name, value in row.items() if not name.startswith(("KL", "ref"))} for row in answer["own"]
        ], "the ids of the same conversations"


def _flat(text: dict[str, Any]) -> dict[str, str]:
    return {name: turns[0]["content"] for name, turns in text.items()}


def _ids(tokens: Any, kind: str) -> dict[str, Any]:
    one = taken_apart(tokens)
    prompt = one.prompt.tolist()
    if kind == "kto":
        return {"prompt_ids": prompt, "completion_ids": one.answers[0].tolist(), "label": one.wanted}
    return {"prompt_ids": prompt, "chosen_ids": one.answers[0].tolist(), "rejected_ids": one.answers[1].tolist()}
