"""Questions of the evaluation rows, answered at each evaluation."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.evaluate.measure import cast_weights
from luthier.model.precision import has_bf16
from luthier.record.events import Answered, Evaluated, Stepped, read_events
from tests.conftest import World, write_jsonl

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROW = {
    "messages": [
        {"role": "user", "content": "Where does Mira live?"},
        {"role": "assistant", "content": "Mira lives in the mill."},
        {"role": "user", "content": "And Tom?"},
        {"role": "assistant", "content": "Tom lives in the barn."},
    ]
}


def test_each_answer_of_a_row_is_a_question_at_each_evaluation(
    world: World, tmp_path: Path, luthier: Run, write_recipe: Callable[..., Path]
) -> None:
    rows = write_jsonl(tmp_path / "dev.jsonl", [ROW, ROW])
    tree: dict[str, Any] = world.recipe(
        data={"evaluate": [{"path": str(rows)}]},
        batch={"micro": 1, "epochs": 1, "steps": 4},
        evaluate={
            "every": 2,
            "rows": 3,
            "generate_during": True,
            "metrics": ["rouge-l", "exact_match"],
            "generation": {"max_new_tokens": 4},
        },
        output={"dir": str(tmp_path / "run")},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    answered = [one for one in read_events(tmp_path / "run" / "events.jsonl") if isinstance(one, Answered)]
    assert [(one.step, one.rows, one.file) for one in answered] == [
        (2, 3, "answers/step-00000002.jsonl"),
        (4, 3, "answers/step-00000004.jsonl"),
    ]
    told = [json.loads(line) for line in (tmp_path / "run" / answered[1].file).read_text().splitlines()]
    assert [one["question"] for one in told] == ["Where does Mira live?", "And Tom?", "Where does Mira live?"]
    assert [one["reference"] for one in told][:2] == ["Mira lives in the mill.", "Tom lives in the barn."]
    assert set(told[0]["scores"]) == {"rouge-l", "exact_match"} and "rouge-l" in done.stdout


RECORDING = """
import json
from luthier.methods.causal import SupervisedFineTuning

class Recording(SupervisedFineTuning):
    def loss(self, model, batch):
        with open({file!r}, "a") as file:
            file.write(json.dumps([model.training, batch.tokens]) + "\\n")
        return super().loss(model, batch)
"""


def test_held_out_rows_are_answered_and_no_evaluation_batch_is_larger_than_training_s(
    world: World, tmp_path: Path, luthier: Run, write_recipe: Callable[..., Path]
) -> None:
    """Sixteen packs at once were asked for; there are as many tokens as the largest batch that was trained on."""
    (tmp_path / "recording.py").write_text(RECORDING.format(file=str(tmp_path / "batches.jsonl")))
    tree: dict[str, Any] = world.recipe(
        method={"kind": "recording:Recording"},
        data={"holdout": 6},
        pack={"kind": "none"},
        batch={"micro": 2, "epochs": 1, "evaluate": 16},
        evaluate={"generate_during": True, "metrics": ["chrf"], "generation": {"max_new_tokens": 2}},
        output={"dir": str(tmp_path / "run")},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    batches = [json.loads(line) for line in (tmp_path / "batches.jsonl").read_text().splitlines()]
    largest = {training: max(size for kind, size in batches if kind == training) for training in (True, False)}
    assert largest[False] <= largest[True]
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["largest_batch"] == largest[True]
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    [evaluated] = [one for one in events if isinstance(one, Evaluated)]
    [answered] = [one for one in events if isinstance(one, Answered)]
    assert answered.rows == 6 and 0 <= answered.metrics["chrf"] <= 100
    rows = [json.loads(line) for line in (tmp_path / "run" / answered.file).read_text().splitlines()]
    assert len({row["origin"] for row in rows}) == 6 and {row["category"] for row in rows} == {"home"}
    assert evaluated.metrics == {} and evaluated.targets > 0


@pytest.mark.slow
def test_evaluating_in_16_bits_leaves_the_weights_as_they_were(
    world: World, tmp_path: Path, luthier: Run, write_recipe: Callable[..., Path]
) -> None:
    """The loss measured is that of weights rounded to bf16, and training goes on from the exact ones."""
    losses, steps, out = {}, {}, {}
    for full in (False, True):
        out[full] = tmp_path / str(full)
        tree = world.recipe(
            data={"evaluate": [{"path": str(world.held_out)}]},
            batch={"steps": 4},
            evaluate={"every": 2},
            precision={"compute": "bf16", "full_evaluation": full},
            output={"dir": str(out[full])},
        )
        done = luthier("train", write_recipe(tree))
        assert done.returncode == 0, done.stderr
        events = list(read_events(out[full] / "events.jsonl"))
        losses[full] = [event.loss for event in events if isinstance(event, Evaluated)]
        steps[full] = [event.loss for event in events if isinstance(event, Stepped)]
    assert steps[True] == steps[False]
    assert (losses[True] != losses[False]) is has_bf16()
    assert losses[True] == pytest.approx(losses[False], rel=0.02)


def test_cast_weights_come_back_bit_for_bit_also_after_an_error() -> None:
    model = torch.nn.Linear(3, 3)
    before = [one.detach().clone() for one in model.parameters()]
    with pytest.raises(RuntimeError, match="same dtype"), cast_weights(model, torch.bfloat16):
        model(torch.ones(1, 3))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
