"""The recipes that Luthier ships: each can be planned, and the one whose rows the hub has runs on rows of one's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.dialects import read
from luthier.plan.support import unsupported
from tests.conftest import World
from tests.documents.conftest import events_of

ROOT = Path(__file__).parent.parent
SMALL = (
    *("model.scratch.hidden=64", "model.scratch.layers=2", "model.scratch.intermediate=128"),
    *("pack.length=512", "batch.accumulation=1", "batch.steps=3", "evaluate.every=3", "checkpoint.every=never"),
)


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_asks_for_what_is_there(file: Path) -> None:
    reading = read(file)
    assert not reading.refusals() and unsupported(reading.recipe) == []


def test_tinystories_is_a_small_llama_from_scratch_with_a_tokenizer_of_pieces(
    world: World, tmp_path: Path, luthier: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    words = [str(ROOT / "recipes" / "tinystories-pretrain.yaml"), "--data", str(world.stories), "data.holdout=0.1"]
    plan = luthier("plan", *words, "--json")
    assert plan.returncode == 0, plan.stderr
    told = json.loads(plan.stdout)
    assert told["refused"] == [] and 20e6 < told["parameters"]["total"] < 40e6
    done = luthier("train", *words, *SMALL)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "tinystories-pretrain"
    assert [one["step"] for one in events_of(run) if one["event"] == "step"][-1] == 3

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    model = AutoModelForCausalLM.from_pretrained(run / "model")
    ids = tokenizer("Mira lives in the mill", return_tensors="pt").input_ids
    assert "<0x0A>" in tokenizer.get_vocab() and tokenizer.decode(ids[0]) == "Mira lives in the mill"
    assert model(ids).logits.isfinite().all()
