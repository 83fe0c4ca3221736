"""Merging: the merged model says what the adapter says, or is not called done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from luthier.errors import ModelError
from luthier.model.adapters import add_adapter
from luthier.model.agreement import TOLERANCE
from luthier.model.load import build_model, open_model
from luthier.model.merge import merge
from luthier.model.quantise import loading, read_quantisation
from luthier.model.save import open_on_base, save_model
from luthier.recipe.validate import build
from tests.conftest import World, make_model
from tests.model.test_adapters import NF4, shaken

Base = Callable[..., Path]
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": {"kind": "lora", "rank": 4}},
    "patterns": {
        "adapter": {
            "kind": "lora",
            "rank": 4,
            "rslora": True,
            "targets": ["q_proj", "down_proj", "embed_tokens"],
            "rank_pattern": {"q_proj": 2},
            "alpha_pattern": {r"layers\.1\..*": 5.0},
        }
    },
    "dora": {"adapter": {"kind": "lora", "rank": 4, "dora": True}},
    "pissa": {"adapter": {"kind": "lora", "rank": 4, "init": "pissa", "dora": True}},
    "whole modules": {"adapter": {"kind": "lora", "rank": 4, "modules_to_save": ["lm_head", "norm"]}},
    "whole embeddings": {"adapter": {"kind": "lora", "rank": 4, "modules_to_save": ["embed_tokens"]}},
    "ia3": {"adapter": {"kind": "ia3"}},
    "quantised": {"adapter": {"kind": "lora", "rank": 4}, "quantise": NF4},
    "loftq": {"adapter": {"kind": "lora", "rank": 4, "init": "loftq"}, "quantise": NF4},
}


@pytest.fixture
def base(tmp_path: Path, world: World) -> Base:
    def make(dtype: torch.dtype = torch.float32, shards: str = "5GB", **changes: Any) -> Path:
        place = make_model(tmp_path / "base", 300, **changes)
        AutoModelForCausalLM.from_pretrained(place, dtype=dtype).save_pretrained(place, max_shard_size=shards)
        if shards != "5GB":
            (place / "model.safetensors").unlink()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (place / name).write_bytes((world.model / name).read_bytes())
        return place

    return make


def saved(base: Path, out: Path, new_tokens: tuple[int, ...] = (), **sections: Any) -> Path:
    """An adapter with weights of some size, saved as a run saves it."""
    tree = {"model": {"path": str(base)}, "data": {"train": [{"path": "x"}]}, **sections}
    recipe = build(tree, str)
    model = shaken(add_adapter(build_model(recipe, 300 + len(new_tokens), base), recipe, new_tokens))
    save_model(model, out, tokenizer=base, chat_template="{{ messages }}", stops=[], base=str(base))
    return out


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.tensor([[5, 9, 11, 30, 7, 41]]), use_cache=False).logits.float()
    return found


@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True. and a tied layer:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers. to .True.:UserWarning")
@pytest.mark.parametrize("tied", [False, True])
def test_an_embedding_that_peft_saves_beside_its_lora_has_both(tied: bool, base: Base, tmp_path: Path) -> None:
    place = base(tie_word_embeddings=tied)
    config = LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"])
    model = shaken(get_peft_model(AutoModelForCausalLM.from_pretrained(place), config))
    model.save_pretrained(tmp_path / "adapter")
    merge(tmp_path / "adapter", tmp_path / "merged")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(found), logits(model), rtol=1e-4, atol=1e-4)


# PEFT ties what is saved whole of both ends of a tied model again, so that case is the same as the untied one.
CASES = [(kind, tied) for kind in ADAPTERS for tied in (False, True) if not (tied and kind == "whole modules")]


@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True. and a tied layer:UserWarning")
@pytest.mark.parametrize(("kind", "tied"), CASES)
def test_the_merged_model_has_the_adapters_logits(kind: str, tied: bool, base: Base, tmp_path: Path) -> None:
    place = base(tie_word_embeddings=tied)
    adapter = saved(place, tmp_path / "adapter", **ADAPTERS[kind])
    done = merge(adapter, tmp_path / "merged")
    assert (done.dtype, done.files) == ("float32", 1) and done.error < 1e-5 < done.effect
    kept = read_quantisation(adapter)
    quantised = loading(kept.config if kept and kept.needed else None, "cpu")
    expected = logits(open_on_base(adapter, place, "sdpa", torch.float32, quantised))
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (tmp_path / "merged" / "chat_template.jinja").read_text() == "{{ messages }}"
    assert not list(tmp_path.glob(".*merging"))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_rows_of_new_tokens_are_merged(kind: str, tied: bool, base: Base, tmp_path: Path) -> None:
    place = base(tie_word_embeddings=tied)
    adapter = saved(place, tmp_path / "adapter", (300, 301), adapter={"kind": kind, "rank": 2})
    merge(adapter, tmp_path / "merged")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.config.tie_word_embeddings is tied
    assert model.config.vocab_size == 302 == model.get_input_embeddings().weight.shape[0]
    reference = open_on_base(adapter, place, "sdpa", torch.float32)
    ids = torch.tensor([[300, 5, 301, 9]])
    with torch.no_grad():
        expected, found = reference(ids, use_cache=False).logits, model(ids, use_cache=False).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_stay_narrow_file_by_file(dtype: torch.dtype, base: Base, tmp_path: Path) -> None:
    place = base(dtype, shards="20KB")
    files = sorted(path.name for path in place.glob("*.safetensors"))
    assert len(files) > 2
    adapter = saved(place, tmp_path / "adapter", **ADAPTERS["lora"])
    done = merge(adapter, tmp_path / "merged")
    assert sorted(path.name for path in (tmp_path / "merged").glob("*.safetensors")) == files
    assert done.files == len(files) and done.dtype == str(dtype).removeprefix("torch.")
    assert 1e-6 < done.error < TOLERANCE[dtype] and done.error < done.effect
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.dtype is dtype
    wide = merge(adapter, tmp_path / "wide", dtype="fp32")
    assert wide.error < 1e-5
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "wide").dtype is torch.float32


def test_what_does_not_agree_is_not_called_done(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge that forgets the scale of the update."""
    from luthier.model.deltas import Deltas

    adapter = saved(base(), tmp_path / "adapter", **ADAPTERS["lora"])
    monkeypatch.setattr(Deltas, "_scale", lambda *_: 1.0)
    with pytest.raises(ModelError, match="nothing was kept"):
        merge(adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists() and not list(tmp_path.glob(".*merging"))


def test_an_adapter_that_rounding_would_drown_is_not_merged(base: Base, tmp_path: Path) -> None:
    place = base(torch.bfloat16)
    adapter = saved(place, tmp_path / "adapter", **ADAPTERS["lora"])
    path = adapter / "adapter_model.safetensors"
    save_file({name: one * 0.01 for name, one in load_file(path).items()}, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="rounding would drown it"):
        merge(adapter, tmp_path / "merged")
    assert merge(adapter, tmp_path / "wide", dtype="fp32").error < 1e-5


def test_a_base_that_is_not_its_own_is_told(base: Base, tmp_path: Path) -> None:
    adapter = saved(base(), tmp_path / "adapter", **ADAPTERS["lora"])
    other = make_model(tmp_path / "other", 300, num_hidden_layers=1)
    with pytest.raises(ModelError, match="which the base has not"):
        merge(adapter, tmp_path / "merged", base=str(other))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(ModelError, match="is not empty"):
        merge(adapter, tmp_path / "full")
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_a_prefix_has_nothing_to_merge(base: Base, tmp_path: Path) -> None:
    adapter = saved(base(), tmp_path / "adapter", adapter={"kind": "prefix"})
    with pytest.raises(ModelError, match="changes no weight"):
        merge(adapter, tmp_path / "merged")


def test_the_config_keeps_what_it_said(base: Base, tmp_path: Path) -> None:
    place = base()
    merge(saved(place, tmp_path / "adapter", **ADAPTERS["ia3"]), tmp_path / "merged")
    before, after = (json.loads((one / "config.json").read_text()) for one in (place, tmp_path / "merged"))
    assert before == after
    assert open_model(tmp_path / "merged", "sdpa", "auto").config.eos_token_id == 2
