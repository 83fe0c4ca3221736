"""What the commands take: a file and words, ChatGLM3's positions, a pasted command, moved models and rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import World, write_jsonl

Run = Callable[..., "subprocess.CompletedProcess[str]"]

DEMO = """\
data_config: {train_file: train.json, val_file: dev.json}
training_args: {output_dir: out, max_steps: 5, use_cpu: true, evaluation_strategy: steps, eval_steps: 2}
peft_config: {peft_type: LORA, task_type: CAUSAL_LM, r: 4, target_modules: [q_proj]}
"""


def recipe_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout)["recipe"])


def demo(folder: Path) -> tuple[Path, Path]:
    rows = [{"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}]
    data = folder / "data"
    data.mkdir()
    for name in ("train.json", "dev.json"):
        write_jsonl(data / name, rows)
    config = folder / "lora.yaml"
    config.write_text(DEMO)
    return data, config


def test_the_demo_s_positions_name_rows_model_and_checkpoint(luthier: Run, world: World, tmp_path: Path) -> None:
    data, config = demo(tmp_path)
    found = recipe_of(luthier("read", data, world.model, config, "--json"))
    assert found["model"]["path"] == str(world.model)
    assert [one["path"] for one in found["data"]["train"]] == [str(data / "train.json")]
    assert [one["path"] for one in found["data"]["evaluate"]] == [str(data / "dev.json")]
    assert found["checkpoint"]["resume"] == "auto"
    numbered = recipe_of(luthier("read", data, world.model, config, "20", "seed=3", "--json"))
    assert (numbered["checkpoint"]["resume"], numbered["seed"]) == ("checkpoint-20", 3)
    assert recipe_of(luthier("read", data, world.model, config, "YES", "--json"))["checkpoint"]["resume"] == "auto"


@pytest.mark.parametrize(("word", "told"), [("no", "only answered the test rows"), ("maybe", "is not there")])
def test_other_words_in_the_fourth_position_are_refused(
    luthier: Run, world: World, tmp_path: Path, word: str, told: str
) -> None:
    data, config = demo(tmp_path)
    done = luthier("train", data, world.model, config, word)
    assert done.returncode == 2 and told in done.stderr and "  -> " in done.stderr


def test_a_pasted_command_line_is_a_recipe(luthier: Run, tmp_path: Path) -> None:
    pasted = "accelerate launch train.py --model_name_or_path m --dataset_name d --learning_rate 3e-5 --lora_r 4"
    done = luthier("read", "seed=9", "--json", "--", *pasted.split(), "--use_peft_lora", "True", "--bf16")
    assert done.returncode == 0, done.stderr
    found = recipe_of(done)
    assert (found["optimizer"]["lr"], found["adapter"]["rank"], found["seed"]) == (3e-5, 4, 9)
    accounts = {one["key"]: one for one in json.loads(done.stdout)["accounts"]}
    assert accounts["lora_r"]["place"] == "the pasted command:1" and json.loads(done.stdout)["dialect"] == "peft_sft"


def test_model_and_data_are_found_elsewhere_and_nothing_else_changes(
    luthier: Run, world: World, tmp_path: Path
) -> None:
    path = tmp_path / "f.json"
    keys = {"model_name_or_path": "gone", "train_file": "gone.csv", "template_name": "qwen", "train_mode": "lora"}
    path.write_text(json.dumps({**keys, "output_dir": "out", "bf16": True}))
    before = recipe_of(luthier("read", path, "--json"))
    done = luthier("read", path, "--json", "--model", world.model, "--data", world.questions)
    after = recipe_of(done)
    assert after["model"]["path"] == str(world.model) and after["data"]["train"][0]["path"] == str(world.questions)
    accounts = {one["key"]: one for one in json.loads(done.stdout)["accounts"]}
    assert accounts["model_name_or_path"]["outcome"] == accounts["train_file"]["outcome"] == "replaced"
    assert accounts["model.path"]["place"] == "the command line"
    for tree in (before, after):
        tree["model"].pop("path")
        tree["data"].pop("train")
    assert before == after


def test_a_refused_key_no_longer_counts_when_the_command_line_says_otherwise(luthier: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("base_model: Some / spaced - name\ndatasets: [{path: a/b, type: alpaca}]\nmicro_batch_size: 1\n")
    assert luthier("read", path).returncode == 2
    done = luthier("read", path, "--json", "--model", "a/c")
    assert done.returncode == 0 and recipe_of(done)["model"]["path"] == "a/c"


def test_strict_refuses_what_is_not_known(luthier: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("base_model: a/b\ndatasets: [{path: a/b, type: alpaca}]\nmicro_batch_sise: 1\nnum_epochs: 1\n")
    done = luthier("read", path, "--json")
    (account,) = [one for one in json.loads(done.stdout)["accounts"] if one["key"] == "micro_batch_sise"]
    assert (
        done.returncode == 0 and account["outcome"] == "inert" and "did you mean micro_batch_size?" in account["note"]
    )
    for command in ("read", "plan", "train"):
        strict = luthier(command, path, "--strict")
        assert strict.returncode == 2 and "micro_batch_sise" in strict.stdout + strict.stderr


def test_nothing_given_says_how(luthier: Run) -> None:
    done = luthier("plan")
    assert done.returncode == 2 and "no recipe is given" in done.stderr and "Traceback" not in done.stderr


def test_what_a_dump_leaves_open_is_told_beside_its_json(luthier: Run, tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_text("TrainingArguments(\nlearning_rate=1e-05,\nnum_train_epochs=1,\noutput_dir=./r,\n)\n")
    done = luthier("read", path, "--json")
    assert done.returncode == 2 and list(json.loads(done.stdout)) == ["dialect", "recipe", "accounts"]
    assert "no model is named" in done.stderr and "no rows to train on" in done.stderr
