"""Runs that learn from judged answers: their reference, their resumption, and their result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import GPT2Config, GPT2LMHeadModel

from luthier.dialects import read
from luthier.errors import ModelError, RunError
from luthier.model.export import export
from luthier.model.merge import merge
from luthier.record.events import Evaluated, Event, Stepped, read_events
from luthier.record.folder import RunFolder
from luthier.train.display import Display
from luthier.train.run import run
from luthier.use.measure import evaluate
from luthier.use.result import open_result
from tests.conftest import HOMES, NAMES, World, write_jsonl

Write = Callable[..., Path]
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]}


def rows(folder: Path, count: int = 40) -> Path:
    made = []
    for number in range(count):
        who = number % len(NAMES)
        other = HOMES[(who + 1 + number % 4) % len(HOMES)]
        asked = f"Where does {NAMES[who]} live? ({number})"
        made.append({"prompt": asked, "chosen": f"In the {HOMES[who]}.", "rejected": f"In the {other}, or elsewhere."})
    return write_jsonl(folder / "pairs.jsonl", made)


def carried_out(world: World, tmp_path: Path, write_recipe: Write, name: str = "run", **sections: Any) -> RunFolder:
    data = {"train": [{"path": str(rows(tmp_path))}], "holdout": 0.2}
    sections = {"method": {"kind": "dpo"}, "batch": {"micro": 1, "steps": 8}, **sections}
    out = {"dir": str(tmp_path / name)}
    tree = world.recipe(data=data, output=out, checkpoint={"every": 4}, **sections)
    return run(read(write_recipe(tree)), Display(Console(quiet=True), live=False))


def losses(folder: RunFolder, kind: type[Event] = Stepped) -> list[float]:
    return [event.loss for event in read_events(folder.events) if isinstance(event, kind)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("adapter", [{}, LORA], ids=["full", "lora"])
def test_every_reference_gives_the_same_run_which_begins_at_ln_2(
    adapter: dict[str, Any], world: World, tmp_path: Path, write_recipe: Write
) -> None:
    kinds = ["auto", "model", "precomputed", *(["adapter_off"] if adapter else [])]
    found = {
        kind: carried_out(
            world, tmp_path, write_recipe, kind, adapter=adapter, method={"kind": "dpo", "reference": kind}
        )
        for kind in kinds
    }
    expected = losses(found["auto"])
    assert expected[0] == pytest.approx(math.log(2), abs=1e-6) and expected[-1] < expected[0]
    for folder in found.values():
        assert losses(folder) == pytest.approx(expected, abs=1e-5)
        assert losses(folder, Evaluated) == pytest.approx(losses(found["auto"], Evaluated), abs=1e-5)


def test_an_adapter_that_began_as_something_is_measured_against_its_start(
    world: World, tmp_path: Path, write_recipe: Write
) -> None:
    first = carried_out(world, tmp_path, write_recipe, "first", adapter=LORA)
    again = carried_out(
        world, tmp_path, write_recipe, "again", adapter={**LORA, "continue_from": str(first.root / "model")}
    )
    pissa = carried_out(world, tmp_path, write_recipe, "pissa", adapter={**LORA, "init": "pissa"})
    made = {"kind": "prefix", "virtual_tokens": 4, "projection": True}
    prefix = carried_out(world, tmp_path, write_recipe, "prefix", adapter=made)
    for folder in (again, pissa, prefix):
        assert losses(folder)[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses(prefix)[-1] != pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("kept", [False, True])
def test_a_model_s_own_dropout_is_off_unless_it_is_kept(
    kept: bool, world: World, tmp_path: Path, write_recipe: Write
) -> None:
    vocabulary = len(json.loads((world.model / "tokenizer.json").read_text())["model"]["vocab"])
    torch.manual_seed(0)
    sizes = {"vocab_size": vocabulary, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
    GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=2)).save_pretrained(tmp_path / "gpt2")
    for file in world.model.glob("*token*"):
        (tmp_path / "gpt2" / file.name).write_bytes(file.read_bytes())
    given = {"model": {"path": str(tmp_path / "gpt2")}, "method": {"kind": "dpo", "model_dropout": kept}}
    folder = carried_out(world, tmp_path, write_recipe, **given)
    begins_at_ln_2 = losses(folder)[0] == pytest.approx(math.log(2), abs=1e-6)
    assert begins_at_ln_2 is not kept
    assert json.loads((folder.model / "config.json").read_text())["resid_pdrop"] == 0.1


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_biases_that_train_do_not_move_the_reference(
    bias: str, biased: Path, world: World, tmp_path: Path, write_recipe: Write
) -> None:
    given: dict[str, Any] = {
        "model": {"path": str(biased)},
        "adapter": {**LORA, "bias": bias},
        "optimizer": {"lr": 2e-2},
        "batch": {"micro": 1, "steps": 5},
    }
    found = [
        carried_out(world, tmp_path, write_recipe, kind, method={"kind": "dpo", "reference": kind}, **given)
        for kind in ("auto", "model", "precomputed")
    ]
    expected = losses(found[1])
    assert expected[-1] < expected[0] - 0.01
    for folder in found:
        assert losses(folder) == pytest.approx(expected, abs=1e-5)
    again, before = evaluate(found[0].root, [], [], Display(Console(quiet=True), live=False), before=True)
    assert again.figures["loss"] == pytest.approx(losses(found[0], Evaluated)[-1], abs=1e-5)
    assert before is not None and before.figures["loss"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("reference", ["auto", "precomputed"])
def test_a_run_that_was_stopped_goes_on_exactly(
    reference: str, world: World, tmp_path: Path, write_recipe: Write
) -> None:
    method = {"kind": "dpo", "reference": reference, "beta": 0.5}
    whole = carried_out(world, tmp_path, write_recipe, "whole", method=method)
    folder = carried_out(world, tmp_path, write_recipe, "cut", method=method)
    (folder.checkpoints / "step-00000008").rename(tmp_path / "gone")
    events = folder.events.read_text().splitlines()
    kept = [line for line in events if json.loads(line)["event"] != "finished"]
    folder.events.write_text("\n".join(kept) + "\n")
    again = carried_out(world, tmp_path, write_recipe, "cut", method=method)
    resumed = losses(again)[len(losses(whole)) :]
    assert resumed == losses(whole)[4:]


def test_numbers_that_are_damaged_or_of_other_rows_are_not_trusted(
    world: World, tmp_path: Path, write_recipe: Write
) -> None:
    method = {"kind": "dpo", "reference": "precomputed"}
    folder = carried_out(world, tmp_path, write_recipe, method=method)
    file = folder.root / "reference" / "logps.safetensors"
    good = file.read_bytes()

    def again(bytes_of: bytes) -> str:
        file.write_bytes(bytes_of)
        lines = [line for line in folder.events.read_text().splitlines() if json.loads(line)["event"] != "finished"]
        folder.events.write_text("\n".join(lines) + "\n")
        with pytest.raises(RunError) as error:
            carried_out(world, tmp_path, write_recipe, method=method)
        return error.value.faults[0].reason

    assert "damaged" in again(good[:-1] + bytes([good[-1] ^ 1]))
    assert "cannot be read" in again(b"{")


@pytest.mark.parametrize("adapter", [{}, LORA], ids=["full", "lora"])
def test_a_reward_model_opens_in_plain_transformers(
    adapter: dict[str, Any], world: World, tmp_path: Path, write_recipe: Write
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    folder = carried_out(world, tmp_path, write_recipe, adapter=adapter, method={"kind": "reward"})
    found = losses(folder)
    assert found[-1] < found[0]
    if adapter:
        base = AutoModelForSequenceClassification.from_pretrained(world.model, num_labels=1)
        model = PeftModel.from_pretrained(base, folder.model)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder.model)
        assert model.config.num_labels == 1
    with torch.no_grad():
        assert torch.isfinite(model(torch.tensor([[5, 6, 7]])).logits).all()
    with pytest.raises(ModelError, match="judges answers and speaks no words"):
        open_result(folder.root)
    with pytest.raises(ModelError, match="judges answers and speaks no words"):
        export(folder.model, tmp_path / "out")
    if adapter:
        with pytest.raises(ModelError, match="judges answers and speaks no words"):
            merge(folder.model, tmp_path / "out")
