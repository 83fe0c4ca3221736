"""Whole runs through the real command: what they leave behind is the ecosystem's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.evaluate.generate import prompt_ids
from luthier.model.precision import has_bf16
from luthier.record.events import Answered, Evaluated, Finished, Prepared, Started, Stepped, read_events
from luthier.use.result import open_result
from tests.conftest import World

Call = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]


def train(world: World, write_recipe: Write, luthier: Call, tmp_path: Path, **sections: Any) -> Path:
    out = tmp_path / "run"
    ended = luthier("train", write_recipe(world.recipe(**{"output": {"dir": str(out)}, **sections})))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return out


def test_pretraining_from_scratch_leaves_a_model_that_transformers_opens(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    tree = {
        "model": {"scratch": {"hidden": 32, "layers": 2, "heads": 4, "max_positions": 128}},
        "tokenizer": {"train": {"vocabulary": 400}},
        "data": {"train": [{"path": str(world.stories)}], "max_length": 64, "overlong": "split", "holdout": 0.1},
        "method": {"kind": "pretrain"},
        "batch": {"micro": 2, "epochs": 12},
        "optimizer": {"lr": 1e-2},
        "output": {"dir": str(tmp_path / "run")},
    }
    ended = luthier("train", write_recipe(tree))
    assert ended.returncode == 0, ended.stderr
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert tokenizer.eos_token == "<|im_end|>"
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.use_cache
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    assert losses[-1] < 0.5 * losses[0]
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert len(losses) == plan["steps"]
    assert plan["exact"]
    assert plan["parameters"]["total"] == model.num_parameters()
    said = luthier("generate", tmp_path / "run", "--prompt", "Mira lives in", "--raw", "--max-new-tokens", "8")
    assert said.stdout.startswith("Mira lives in the")


def test_full_fine_tuning_leaves_a_chat_model(world: World, write_recipe: Write, luthier: Call, tmp_path: Path) -> None:
    out = train(world, write_recipe, luthier, tmp_path, optimizer={"lr": 5e-3}, batch={"epochs": 40})
    model = AutoModelForCausalLM.from_pretrained(out / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    asked = [{"role": "user", "content": "Where does Mira live?"}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)[
        "input_ids"
    ]
    answer = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False, pad_token_id=0
    )
    assert tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True).strip() == "Mira lives in the mill."
    assert int(answer[0, -1]) == tokenizer.convert_tokens_to_ids("<|im_end|>")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "best_fit", "first_fit", "concatenate"])
def test_weighted_sources_train_the_planned_steps(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path, kind: str
) -> None:
    train_on = [{"path": str(world.questions), "weight": 1.5}, {"path": str(world.held_out), "weight": 0.5}]
    data = {"train": train_on, "mix": "in_turn", "curriculum": "short_first", "holdout": 1}
    out = train(world, write_recipe, luthier, tmp_path, data=data, pack={"kind": kind}, batch={"epochs": 3})
    plan = json.loads((out / "plan.json").read_text())
    events = list(read_events(out / "events.jsonl"))
    steps = [event for event in events if isinstance(event, Stepped)]
    prepared = next(event for event in events if isinstance(event, Prepared))
    first, second = prepared.summary["documents_by_source"]
    assert plan["exact"] and len(steps) == plan["steps"] == 3 * plan["steps_per_epoch"]
    assert sum(event.tokens for event in steps[: plan["steps_per_epoch"]]) == plan["tokens"]
    assert abs(plan["documents"] - 1.5 * first - 0.5 * second) < 3 and second > 1
    if kind == "none":
        assert len(steps) == 3 * plan["documents"]


def test_an_adapter_opens_with_peft_and_has_the_logits_luthier_has(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    out = train(world, write_recipe, luthier, tmp_path, adapter={"kind": "lora", "rank": 4}, optimizer={"lr": 1e-2})
    base = AutoModelForCausalLM.from_pretrained(world.model)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(world.model), out / "model").eval()
    ids = torch.tensor([[5, 9, 11, 30, 7]])
    ours = open_result(out).model
    with torch.no_grad():
        plain, theirs = base(ids).logits, adapted(ids).logits
        assert not torch.allclose(plain, theirs, atol=1e-4)
        torch.testing.assert_close(ours(ids, use_cache=False, document_lengths=(5,)).logits, theirs, rtol=0, atol=1e-5)
    assert json.loads((out / "model" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        world.model
    )


def test_the_prompt_of_generation_begins_the_ids_of_training(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    out = train(world, write_recipe, luthier, tmp_path, batch={"steps": 1})
    encoder = Encoder.open(out / "model")
    template = ChatTemplate(template_source("auto", encoder), encoder)
    example = Example((Message("user", "Where does Mira live?"), Message("assistant", "Here.")), "test")
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    theirs = tokenizer.apply_chat_template([example.messages[0].tree()], add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    assert prompt_ids(example, template, encoder) == list(theirs)


def test_events_tell_the_run(world: World, write_recipe: Write, luthier: Call, tmp_path: Path) -> None:
    out = train(
        world,
        write_recipe,
        luthier,
        tmp_path,
        data={"evaluate": [{"path": str(world.held_out)}], "test": [{"path": str(world.held_out)}]},
        evaluate={"every": 4, "at_start": True, "generate": True, "generation": {"max_new_tokens": 12}},
        batch={"steps": 10},
    )
    events = list(read_events(out / "events.jsonl"))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert [event.name for event in events if isinstance(event, Prepared)] == ["train", "evaluation"]
    assert [event.step for event in events if isinstance(event, Evaluated)] == [0, 4, 8, 10]
    assert [event.when for event in events if isinstance(event, Answered)] == ["before", "after"]
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 11))
    rows = [json.loads(line) for line in (out / "answers" / "after.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    assert rows[0]["reference"] == "Mira lives in the mill."
    assert rows[0]["category"] == "home"
    assert (out / "report.html").stat().st_size > 1000


def test_a_second_run_prepares_nothing_and_a_finished_one_is_left_alone(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    out = train(world, write_recipe, luthier, tmp_path, batch={"steps": 2})
    first = [event for event in read_events(out / "events.jsonl") if isinstance(event, Prepared)]
    assert not first[0].cached
    again = luthier("train", tmp_path / "recipe.yaml")
    assert again.returncode == 0
    assert "finished already" in again.stdout
    other = luthier("train", tmp_path / "recipe.yaml", f"output.dir={tmp_path / 'other'}")
    assert other.returncode == 0
    second = [event for event in read_events(tmp_path / "other" / "events.jsonl") if isinstance(event, Prepared)]
    assert second[0].cached


def test_early_stopping_stops_and_says_so(world: World, write_recipe: Write, luthier: Call, tmp_path: Path) -> None:
    """A learning rate of next to nothing improves by less than the threshold."""
    out = train(
        world,
        write_recipe,
        luthier,
        tmp_path,
        data={"holdout": 0.2},
        batch={"steps": 30},
        optimizer={"lr": 1e-9},
        evaluate={"every": 2, "patience": 2, "threshold": 0.01},
    )
    events = list(read_events(out / "events.jsonl"))
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("early stopping", 6)
    assert [event.step for event in events if isinstance(event, Evaluated)] == [2, 4, 6]


def test_a_lora_checkpoint_holds_the_adapter_alone(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    out = train(world, write_recipe, luthier, tmp_path, adapter={"kind": "lora", "rank": 2}, batch={"steps": 2})
    saved = load_file(next((out / "checkpoints").glob("step-*")) / "weights.safetensors")
    assert saved
    assert all("lora_" in name for name in saved)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", ["gradient_checkpointing: true", "gradient_checkpointing: true, checkpoint_reentrant: true"]
)
def test_gradient_checkpointing_changes_no_loss(
    setting: str, world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    plain = train(world, write_recipe, luthier, tmp_path, batch={"steps": 4})
    recipe = write_recipe(world.recipe(batch={"steps": 4}, output={"dir": str(tmp_path / "saving")}), "saving.yaml")
    recipe.write_text(recipe.read_text() + f"runtime: {{{setting}}}\n")
    assert luthier("train", recipe).returncode == 0
    losses = [
        [event.loss for event in read_events(out / "events.jsonl") if isinstance(event, Stepped)]
        for out in (plain, tmp_path / "saving")
    ]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)


def test_bf16_autocast_is_used_where_the_recipe_asks_for_it(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    out = train(world, write_recipe, luthier, tmp_path, batch={"steps": 4}, precision={"compute": "bf16"})
    exact = luthier("train", tmp_path / "recipe.yaml", "precision.compute=fp32", f"output.dir={tmp_path / 'exact'}")
    assert exact.returncode == 0
    started = next(read_events(out / "events.jsonl"))
    assert isinstance(started, Started)
    assert started.environment["compute"] == ("bfloat16" if has_bf16() else "float32")
    said = "no bf16 instructions" in (out / "plan.json").read_text(encoding="utf-8")
    assert said is not has_bf16()
    losses = [
        [event.loss for event in read_events(folder / "events.jsonl") if isinstance(event, Stepped)]
        for folder in (out, tmp_path / "exact")
    ]
    assert (losses[0] != losses[1]) is has_bf16()
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)


def test_only_the_patterns_of_trainable_move(world: World, write_recipe: Write, luthier: Call, tmp_path: Path) -> None:
    out = train(world, write_recipe, luthier, tmp_path, batch={"steps": 2}, model={"trainable": [r"layers\.1\.mlp"]})
    before = AutoModelForCausalLM.from_pretrained(world.model).state_dict()
    after = AutoModelForCausalLM.from_pretrained(out / "model").state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up", "down")}


def test_evaluate_measures_a_run_on_other_rows(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    out = train(world, write_recipe, luthier, tmp_path, optimizer={"lr": 5e-3}, batch={"epochs": 40})
    told = luthier("evaluate", out, "--data", world.questions, "--max-new-tokens", "20", "--json")
    assert told.returncode == 0, told.stderr
    figures = json.loads(told.stdout)["figures"]
    assert figures["exact_match"] > 0.9
    assert figures["loss"] < 0.2
    assert figures["perplexity"] == pytest.approx(np.exp(figures["loss"]))
    nothing = luthier("evaluate", tmp_path / "nowhere", "--data", world.questions)
    assert nothing.returncode == 2
    assert "neither a finished run nor a model directory" in nothing.stderr


@pytest.mark.slow
def test_the_result_is_saved_in_the_base_models_type_unless_the_recipe_says_otherwise(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(world.model).to(torch.bfloat16).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((world.model / name).read_bytes())
    out = train(world, write_recipe, luthier, tmp_path, model={"path": str(base)}, batch={"steps": 2})
    assert AutoModelForCausalLM.from_pretrained(out / "model").dtype is torch.bfloat16
    exact = luthier("train", tmp_path / "recipe.yaml", "output.dtype=fp32", f"output.dir={tmp_path / 'exact'}")
    assert exact.returncode == 0, exact.stderr
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "exact" / "model").dtype is torch.float32
