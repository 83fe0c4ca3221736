"""ChatGLM3 through the real command: planned without torch, trained, saved as models that need no Luthier."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GlmForCausalLM

from luthier.model.shape import shape_of_directory
from luthier.plan.inputs import adapter_base
from luthier.plan.plan import plan_recipe
from luthier.recipe.validate import build
from luthier.record.events import Stepped, read_events
from luthier.use.result import open_result
from tests.conftest import World, write_jsonl
from tests.model.chatglm3 import tensors_of, write_checkpoint, write_sentencepiece

Call = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_sentencepiece(write_checkpoint(tmp_path / "chatglm3"))


@pytest.fixture
def tree(checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    rows = [
        {"conversations": [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]}
        for asked, told in [("hello people", "Hello world"), ("你好", "今天天气"), ("the mill", "number 3\n")] * 4
    ]
    return {
        "model": {"path": str(checkpoint)},
        "data": {
            "train": [{"path": str(write_jsonl(tmp_path / "rows.jsonl", rows))}],
            "template": "chatglm3",
            "max_length": 64,
        },
        "batch": {"micro": 1, "epochs": 6},
        "optimizer": {"lr": 1e-2},
        "precision": {"compute": "fp32"},
        "output": {"dir": str(tmp_path / "run")},
    }


def trained(tree: dict[str, Any], write_recipe: Write, luthier: Call) -> Path:
    ended = luthier("train", write_recipe(tree))
    assert ended.returncode == 0, ended.stderr
    run = Path(tree["output"]["dir"])
    losses = [event.loss for event in read_events(run / "events.jsonl") if isinstance(event, Stepped)]
    assert losses[-1] < losses[0] and all(map(math.isfinite, losses))
    return run


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.tensor([ids])).logits[0]
    return found


def test_a_trained_model_is_a_plain_glm(
    tree: dict[str, Any], checkpoint: Path, write_recipe: Write, luthier: Call
) -> None:
    before = {name: one.clone() for name, one in tensors_of(checkpoint).items()}
    run = trained(tree, write_recipe, luthier)
    model = AutoModelForCausalLM.from_pretrained(run / "model")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert isinstance(model, GlmForCausalLM) and not list((run / "model").glob("*.py"))
    asked = [{"role": "user", "content": "hello people"}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    assert [*ids[:3], ids[-1]] == [501, 503, 506, 507]
    assert model.generation_config.eos_token_id == [2, 506, 508]
    assert not torch.equal(model.lm_head.weight, before["transformer.output_layer.weight"])
    after = tensors_of(checkpoint)
    assert all(torch.equal(after[name], before[name]) for name in before), "training wrote into the checkpoint"


def test_query_key_value_is_query_key_and_value(tree: dict[str, Any], write_recipe: Write, luthier: Call) -> None:
    tree["adapter"] = {"kind": "lora", "rank": 2, "targets": ["query_key_value"]}
    run = trained(tree, write_recipe, luthier)
    layers = {
        name.split(".lora_")[0].rpartition(".")[2] for name in load_file(run / "model" / "adapter_model.safetensors")
    }
    assert layers == {"q_proj", "k_proj", "v_proj"}
    base = json.loads((run / "model" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert base == adapter_base(build(tree, str))
    alone = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run / "model")
    ours = open_result(run).model
    ids = [501, 503, 506, 41, 42, 507, 13]
    lengths = {"document_lengths": (len(ids),)}
    with torch.no_grad():
        expected = ours(torch.tensor([ids]), use_cache=False, **lengths).logits[0]
    torch.testing.assert_close(logits(alone, ids), expected, rtol=0, atol=1e-5)


def test_its_own_file_has_a_network_make_the_prefix(tree: dict[str, Any], tmp_path: Path, luthier: Call) -> None:
    """``prefix_projection`` and ``encoder_hidden_size``, by the demo's own command line."""
    (tmp_path / "data").mkdir()
    Path(tree["data"]["train"][0]["path"]).rename(tmp_path / "data" / "train.jsonl")
    run, config = tmp_path / "run", tmp_path / "ptuning.yaml"
    config.write_text(
        "data_config: {train_file: train.jsonl}\nmax_input_length: 40\nmax_output_length: 20\n"
        f"training_args: {{output_dir: {run}, max_steps: 8, learning_rate: 2e-2, use_cpu: true}}\n"
        "peft_config: {peft_type: PREFIX_TUNING, task_type: CAUSAL_LM, num_virtual_tokens: 3,\n"
        "              prefix_projection: true, encoder_hidden_size: 12}\n",
        encoding="utf-8",
    )
    done = luthier("train", tmp_path / "data", tree["model"]["path"], config)
    assert done.returncode == 0, done.stderr
    width, layers = 2 * 8, 2
    network = 3 * width + (width + 1) * 12 + (12 + 1) * 2 * layers * width
    assert json.loads((run / "plan.json").read_text())["parameters"]["trainable"] == network
    [made] = load_file(run / "model" / "adapter_model.safetensors").values()
    assert made.shape == (3, 2 * layers * width)
    base = json.loads((run / "model" / "adapter_config.json").read_text())["base_model_name_or_path"]
    alone = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run / "model")
    ids = [501, 503, 506, 41, 42, 507, 13]
    with torch.no_grad():
        ours = open_result(run).model(torch.tensor([ids]), use_cache=False, document_lengths=(len(ids),)).logits[0]
    torch.testing.assert_close(logits(alone, ids), ours, rtol=0, atol=1e-5)


def test_the_plan_counts_what_an_adapter_trains(tree: dict[str, Any]) -> None:
    tree["adapter"] = {"kind": "lora", "rank": 2, "targets": ["query_key_value"]}
    each = (32 + 32) + (32 + 16) + (32 + 16)
    assert plan_recipe(build(tree, str)).parameters["trainable"] == 2 * 2 * each


def test_the_base_of_an_adapter_is_written_once_and_told(tree: dict[str, Any]) -> None:
    recipe, told = build(tree, str), list[str]()
    base = adapter_base(recipe, told.append)
    assert base is not None and len(told) == 1 and base in told[0] and "GB" in told[0]
    written = (Path(base) / "config.json").stat().st_mtime_ns
    assert adapter_base(recipe, told.append) == base and len(told) == 1
    assert (Path(base) / "config.json").stat().st_mtime_ns == written
    assert AutoTokenizer.from_pretrained(base)("你好")["input_ids"][:2] == [501, 503]


def test_another_models_adapter_names_the_model_itself(world: World) -> None:
    assert adapter_base(build(world.recipe(), str)) == str(world.model)


def test_it_is_planned_without_torch(tree: dict[str, Any], checkpoint: Path, write_recipe: Write) -> None:
    script = (
        "import json, sys, yaml\n"
        "from luthier.plan.plan import plan_recipe\n"
        "from luthier.recipe.validate import build\n"
        "plan = plan_recipe(build(yaml.safe_load(open(sys.argv[1], encoding='utf-8')), str))\n"
        "print(json.dumps([plan.parameters, plan.tokens, 'torch' in sys.modules]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(write_recipe(tree))], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    parameters, tokens, torch_loaded = json.loads(ended.stdout.splitlines()[-1])
    count = shape_of_directory(checkpoint).count
    assert parameters == {"total": count, "trainable": count}
    assert tokens > 0 and not torch_loaded
