"""Rows of new tokens beside (IA)3: they train alone, and plain PEFT opens what is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from luthier.data.encoder import Encoder
from luthier.errors import ModelError
from luthier.model.adapter_files import ROWS, rows_of, settings_of
from luthier.model.adapters import add_adapter
from luthier.model.alone import base_alone
from luthier.model.load import build_model
from luthier.model.merge import merge
from luthier.model.save import load_result, open_on_base, save_model
from luthier.model.verify import verify
from luthier.recipe.validate import build
from tests.conftest import World, make_model
from tests.model.test_adapters import shaken

Run = Callable[..., Any]
NEW = (300, 301)
IDS = torch.tensor([[300, 5, 301, 9, 30]])
WEIGHTS = "adapter_model.safetensors"
EMBEDDING, OUTPUT = "base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"

pytestmark = pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True. and a tied layer:UserWarning")
"""PEFT's, of both ends of a tied model saved whole, which are the same here."""


def model_of(base: Path, **adapter: Any) -> Any:
    tree = {"model": {"path": str(base)}, "data": {"train": [{"path": "x"}]}, "adapter": {"kind": "ia3", **adapter}}
    recipe = build(tree, str)
    return add_adapter(build_model(recipe, 302, base), recipe, NEW)


def saved(model: Any, base: Path, out: Path, world: World) -> Path:
    save_model(model, out, tokenizer=world.model, chat_template=None, stops=[], base=str(base))
    return out


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS, use_cache=False).logits.float()
    return found


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def tied(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def base(tmp_path: Path, tied: bool) -> Path:
    return make_model(tmp_path / "base", 300, tie_word_embeddings=tied)


def test_the_rows_alone_train_beside_the_vectors(base: Path, tied: bool) -> None:
    trained = {name: one for name, one in model_of(base).named_parameters() if one.requires_grad}
    rows = {name: one for name, one in trained.items() if "ia3_l" not in name}
    assert [tuple(one.shape) for one in rows.values()] == [(2, 32)] * (1 if tied else 2)
    assert len(trained) == 14 + len(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_plain_peft_says_what_the_trained_model_says(
    dtype: torch.dtype, base: Path, tmp_path: Path, world: World
) -> None:
    AutoModelForCausalLM.from_pretrained(base, dtype=dtype).save_pretrained(base)
    model = shaken(model_of(base))
    adapter = saved(model, base, tmp_path / "adapter", world)
    verify(model, adapter)
    model.get_base_model().set_attn_implementation("sdpa")
    plain = AutoModelForCausalLM.from_pretrained(base)
    plain.resize_token_embeddings(302, mean_resizing=False)
    stored = plain.get_input_embeddings().weight[:300].clone()
    found = logits(PeftModel.from_pretrained(plain, adapter))
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2
    torch.testing.assert_close(found, logits(model), rtol=0, atol=tolerance)
    torch.testing.assert_close(logits(open_on_base(adapter, base, "sdpa", dtype)), found, rtol=0, atol=tolerance)
    tensors = load_file(adapter / WEIGHTS)
    assert not any("token_adapter" in name for name in tensors)
    assert tensors[EMBEDDING].dtype is dtype and tensors[OUTPUT].shape == (302, 32)
    assert torch.equal(tensors[EMBEDDING][:300], stored), "the old rows are the base's, bit for bit"
    assert json.loads((adapter / "adapter_config.json").read_text())["modules_to_save"] == ["embed_tokens", "lm_head"]


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_whole_embeddings_that_grew_are_opened_and_merged(
    kind: str, base: Path, tied: bool, tmp_path: Path, world: World
) -> None:
    model = shaken(model_of(base, kind=kind, rank=2, modules_to_save=["embed_tokens", "lm_head"]))
    adapter = saved(model, base, tmp_path / "adapter", world)
    assert rows_of(adapter) == set(), "they train whole"
    model.get_base_model().set_attn_implementation("sdpa")
    expected = logits(model)
    torch.testing.assert_close(logits(open_on_base(adapter, base, "sdpa", torch.float32)), expected, rtol=0, atol=1e-5)
    merge(adapter, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged), expected, rtol=0, atol=1e-4)
    assert merged.config.vocab_size == 302


def test_the_base_below_an_adapter_with_new_tokens_is_the_same_each_time(
    base: Path, tmp_path: Path, world: World
) -> None:
    """Its new rows are drawn, also when it is opened again, and judged answers are compared with what it says."""
    adapter, said = saved(model_of(base), base, tmp_path / "adapter", world), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        again = load_result(adapter)
        with base_alone(again):
            said.append(logits(again))
    assert torch.equal(*said)


def test_a_judge_with_new_tokens_opens_again(base: Path, tmp_path: Path, world: World) -> None:
    tree = {"model": {"path": str(base)}, "data": {"train": [{"path": "x"}]}, "method": {"kind": "reward"}}
    recipe = build({**tree, "adapter": {"kind": "lora", "rank": 2}}, str)
    model = shaken(add_adapter(build_model(recipe, 302, base), recipe, NEW))
    adapter = saved(model, base, tmp_path / "adapter", world)
    model.get_base_model().set_attn_implementation("sdpa")
    again = load_result(adapter, reward=True)
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=1e-5)


def test_an_old_row_that_changed_on_the_disk_is_noticed(base: Path, tmp_path: Path, world: World) -> None:
    model = shaken(model_of(base))
    adapter = saved(model, base, tmp_path / "adapter", world)
    tensors = load_file(adapter / WEIGHTS)
    tensors[EMBEDDING][7] += 1e-3
    save_file(tensors, adapter / WEIGHTS)
    with pytest.raises(ModelError, match=r"embed_tokens\.weight .* is not what was to be saved"):
        verify(model, adapter)


def test_it_is_gone_on_with_row_by_row(base: Path, tmp_path: Path, world: World) -> None:
    first = shaken(model_of(base, modules_to_save=["norm"]))
    adapter = saved(first, base, tmp_path / "adapter", world)
    assert rows_of(adapter) == set(NEW) and settings_of(adapter)["modules_to_save"] == ("norm",)
    then = model_of(base, continue_from=str(adapter), modules_to_save=["norm"])
    before, after = (
        {name: one for name, one in model.named_parameters() if one.requires_grad} for model in (first, then)
    )
    assert before.keys() == after.keys()
    for name, one in before.items():
        assert torch.equal(one, after[name]), name


def test_a_damaged_list_of_rows_is_told(base: Path, tmp_path: Path, world: World) -> None:
    adapter = saved(model_of(base), base, tmp_path / "adapter", world)
    for text in ("{", "[1]", '{"embed_tokens": 3}'):
        (adapter / ROWS).write_text(text)
        with pytest.raises(ModelError, match=ROWS):
            rows_of(adapter)


@pytest.mark.slow
def test_a_run_with_them_is_proven_resumed_merged_inspected_and_gone_on_with(
    base: Path, tied: bool, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    for file in world.model.glob("*token*"):
        (base / file.name).write_bytes(file.read_bytes())
    vocabulary = Encoder.open(world.model).vocabulary
    make_model(base, vocabulary, tie_word_embeddings=tied)
    run = tmp_path / "run"
    tree = world.recipe(
        model={"path": str(base)},
        tokenizer={"added": ["Mira lives"]},
        adapter={"kind": "ia3"},
        batch={"steps": 4},
        optimizer={"lr": 0.02, "weight_decay": 0.1},
        checkpoint={"every": 2, "keep_last": None},
        output={"dir": str(run), "merge": True},
    )
    file = write_recipe(tree)
    done = luthier("train", file)
    assert done.returncode == 0, done.stderr
    trained = 14 + (1 if tied else 2)
    told = " ".join(done.stdout.split())
    assert f"{trained} trained ones moved" in told and "without a change" not in told, told
    planned = json.loads(luthier("plan", file, "--json").stdout)["parameters"]["trainable"]
    held = load_file(run / "checkpoints" / "step-00000004" / "weights.safetensors")
    assert sum(one.numel() for one in held.values()) == planned
    _, after = json.loads(luthier("inspect", run, "--json").stdout)
    assert after["totals"]["all"]["trained"] == planned
    said = [
        luthier("generate", place, "--prompt", "Where does Mira live?", "--max-new-tokens", "6")
        for place in (run, run / "merged")
    ]
    assert said[0].returncode == 0, said[0].stderr
    assert said[0].stdout == said[1].stdout
    assert "UserWarning" not in said[0].stderr
    again = luthier(
        "train", file, f"checkpoint.resume={run / 'checkpoints' / 'step-00000002'}", f"output.dir={tmp_path / 'again'}"
    )
    assert again.returncode == 0, again.stderr
    whole, resumed = (load_file(place / "model" / WEIGHTS) for place in (run, tmp_path / "again"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    tree |= {
        "tokenizer": {"path": str(run / "model")},
        "adapter": {"kind": "ia3", "continue_from": str(run)},
        "output": {"dir": str(tmp_path / "further")},
    }
    done = luthier("train", write_recipe(tree, "further.yaml"))
    assert done.returncode == 0, done.stderr
    further = load_file(tmp_path / "further" / "model" / WEIGHTS)
    moved = (further[EMBEDDING] - whole[EMBEDDING]).abs().amax(dim=1) > 0
    assert moved.nonzero().flatten().tolist() == [vocabulary]
