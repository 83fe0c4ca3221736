"""Ranks and alphas of patterns that overlap are in a saved adapter what they were while it trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from luthier.model.adapter_files import settings_of
from luthier.model.adapters import add_adapter, open_adapter
from luthier.model.load import build_model
from luthier.model.merge import merge
from luthier.model.patterns import in_any_order
from luthier.model.quiet import quiet
from luthier.model.save import save_model
from luthier.recipe.validate import build
from tests.conftest import World
from tests.model.test_as_loaded import save

IDS = torch.arange(3, 40)[None]


def logits(model: Any, **more: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS, use_cache=False, **more).logits
    return found


def own_logits(model: Any) -> torch.Tensor:
    return logits(model, document_lengths=(IDS.shape[1],))


def trained(base: Path, **adapter: Any) -> Any:
    """A model with such an adapter, which changes what it says."""
    tree = {"model": {"path": str(base)}, "data": {"train": [{"path": "x"}]}, "adapter": {"kind": "lora", **adapter}}
    recipe = build(tree, str)
    model = add_adapter(build_model(recipe, 0, base), recipe)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


OVERLAPPING: list[dict[str, Any]] = [
    {"targets": ["q_proj", "v_proj"], "rank_pattern": {"q_proj": 2, ".*proj": 6}},
    {"targets": ["q_proj", "v_proj"], "alpha_pattern": {"v_proj": 64, ".*": 4}},
    {"targets": "all-linear", "rank_pattern": {r"layers\.1\..*": 3, "k_proj": 5}, "alpha_pattern": {"up_proj": 1}},
    {"targets": ["q_proj"], "rank_pattern": {r"layers\.0\..*": 2, ".*": 4}, "init": "pissa"},
]


@pytest.mark.parametrize("adapter", OVERLAPPING, ids=str)
def test_plain_peft_opens_what_was_trained(adapter: dict[str, Any], world: World, tmp_path: Path) -> None:
    model = trained(world.model, **adapter)
    save_model(model, tmp_path / "a", tokenizer=world.model, chat_template=None, stops=[], base=str(world.model))
    with quiet():
        plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(world.model), tmp_path / "a")
    torch.testing.assert_close(logits(plain), own_logits(model), rtol=0, atol=1e-5)
    again = open_adapter(AutoModelForCausalLM.from_pretrained(world.model), str(tmp_path / "a"))
    torch.testing.assert_close(logits(again), own_logits(model), rtol=0, atol=1e-5)
    merge(tmp_path / "a", tmp_path / "merged", dtype="fp32")
    torch.testing.assert_close(
        logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged")), own_logits(model), rtol=0, atol=1e-4
    )


def test_ranks_of_experts_are_kept_beside_those_that_peft_gives_them(tmp_path: Path) -> None:
    base = tmp_path / "base"
    save("qwen3_moe", base, num_experts_per_tok=2)
    targets = ["q_proj", "gate_proj", "up_proj", "down_proj"]
    model = trained(base, targets=targets, rank_pattern={"experts.gate_up_proj": 3})
    model.save_pretrained(tmp_path / "a")
    with quiet():
        plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "a")
    torch.testing.assert_close(logits(plain), own_logits(model), rtol=0, atol=1e-5)


def test_patterns_that_do_not_overlap_are_saved_as_they_are(world: World, tmp_path: Path) -> None:
    ranks = {"v_proj": 3, "q_proj": 2}
    trained(world.model, targets=["q_proj", "v_proj"], rank_pattern=ranks).save_pretrained(tmp_path)
    assert settings_of(tmp_path)["rank_pattern"] == ranks


def test_a_layer_that_no_pattern_means_gets_none() -> None:
    assert in_any_order({"1.q": 2, ".*q": 4}, ["h.1.q", "h.0.q", "h.0.k"]) == {"h.1.q": 2, "h.0.q": 4}
