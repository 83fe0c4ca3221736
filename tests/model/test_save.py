"""Results on disk: adapters that fit the untouched base, and what goes beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from luthier.errors import ModelError
from luthier.model.adapters import add_adapter
from luthier.model.load import build_model
from luthier.model.quantise import FILE
from luthier.model.save import load_result, save_model
from luthier.recipe.validate import build
from tests.conftest import World
from tests.model.test_adapters import NF4, shaken


def save(world: World, out: Path, **sections: Any) -> Any:
    recipe = build({"model": {"path": str(world.model)}, "data": {"train": [{"path": "x"}]}, **sections}, str)
    model = shaken(add_adapter(build_model(recipe, 300, world.model), recipe)).eval()
    save_model(model, out, tokenizer=world.model, chat_template=None, stops=[2], base=str(world.model))
    return model


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(3, 40)[None], use_cache=False).logits
    return found


EMBEDDED: dict[str, Any] = {"targets": ["embed_tokens", "q_proj"]}


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"rslora": True},
        {"rank_pattern": {"q_proj": 2}},
        EMBEDDED,
        {**EMBEDDED, "rank_pattern": {".*": 2}, "alpha_pattern": {"embed_.*": 3.0}},
    ],
    ids=str,
)
@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_what_was_taken_out_of_the_weights_is_saved_as_rank(
    init: str, sections: dict[str, Any], world: World, tmp_path: Path
) -> None:
    adapter = {"kind": "lora", "rank": 4, "alpha": 6, "init": init, **sections}
    model = save(world, tmp_path, adapter=adapter)
    model.get_base_model().set_attn_implementation("sdpa")
    torch.testing.assert_close(logits(load_result(tmp_path)), logits(model), rtol=0, atol=2e-4)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings["r"] == 8 and settings["init_lora_weights"] is True
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert load_file(tmp_path / "adapter_model.safetensors")[name].shape[0] == (4 if "rank_pattern" in sections else 8)


def test_how_the_base_was_quantised_is_kept_beside_the_adapter(world: World, tmp_path: Path) -> None:
    model = save(world, tmp_path, adapter={"kind": "lora", "rank": 4}, quantise=NF4)
    tree = json.loads((tmp_path / FILE).read_text())
    assert tree["quantization_config"]["bnb_4bit_quant_type"] == "nf4" and tree["needed"] is False
    model.get_base_model().set_attn_implementation("sdpa")
    again = load_result(tmp_path)
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=1e-5)
    (tmp_path / FILE).unlink()
    assert (logits(load_result(tmp_path)) - logits(again)).abs().max() > 1e-3, "these are the full weights"
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        load_result(tmp_path)


def test_a_base_that_is_gone_is_told(world: World, tmp_path: Path) -> None:
    save(world, tmp_path, adapter={"kind": "ia3"})
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "/no/such/model"}))
    with pytest.raises(ModelError, match="there is no such directory"):
        load_result(tmp_path)


def test_a_language_model_is_no_judge(world: World, adapted: Path) -> None:
    for place, reason in ((world.model, "no reward model: it lacks score.weight"), (adapted, "no adapter of a reward")):
        with pytest.raises(ModelError, match=reason) as error:
            load_result(place, reward=True)
        assert error.value.faults[0].remedy == "train one with method.kind: reward"
