"""Quantised bases: what bitsandbytes is told, and runs that are exact though bits are packed on loading."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, FalconConfig

from luthier.errors import MissingPackage, ModelError
from luthier.model.load import build_model
from luthier.model.precision import has_bf16
from luthier.model.quantise import dequantised, is_quantised, loading, quantisation, read_quantisation
from luthier.recipe import Recipe
from luthier.recipe.validate import build
from tests import warm
from tests.conftest import World, make_model

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of whole blocks: bitsandbytes 0.50 on CPUs rounds rows shorter than a block of 64 much worse."""
    return make_model(tmp_path_factory.mktemp("base"), 300, hidden_size=128, intermediate_size=192)


def recipe_of(path: Path, **sections: Any) -> Recipe:
    tree = {"model": {"path": str(path)}, "data": {"train": [{"path": "x"}]}, "adapter": {"kind": "lora"}, **sections}
    return build(tree, str)


@pytest.mark.parametrize(
    ("quantise", "error"),
    [
        ({"bits": 4}, 0.15),
        ({"bits": 4, "double": True}, 0.15),
        ({"bits": 4, "kind": "fp4", "storage": "bf16"}, 0.25),
        ({"bits": 8}, 0.02),
    ],
    ids=["nf4", "double", "fp4", "int8"],
)
def test_the_linear_layers_are_quantised_and_stand_for_nearly_what_they_were(
    quantise: dict[str, Any], error: float, base: Path
) -> None:
    full, packed = build_model(recipe_of(base), 300, base), build_model(recipe_of(base, quantise=quantise), 300, base)
    weights = dict(full.named_parameters())
    found = {name: one for name, one in packed.named_modules() if is_quantised(getattr(one, "weight", torch.empty(0)))}
    assert {name.rpartition(".")[2] for name in found} == {
        f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")
    }
    for name, layer in found.items():
        weight = weights[f"{name}.weight"]
        away = float((dequantised(layer) - weight).detach().norm() / weight.detach().norm())
        assert 1e-4 < away < error, name
        if quantise["bits"] == 4:
            state = layer.weight.quant_state
            assert (state.quant_type, state.nested) == (quantise.get("kind", "nf4"), quantise.get("double", False))
            assert layer.weight.dtype == (torch.bfloat16 if "storage" in quantise else torch.uint8)


def test_a_model_that_bitsandbytes_leaves_as_it_is_is_refused(tmp_path: Path) -> None:
    config = FalconConfig(vocab_size=60, hidden_size=64, num_hidden_layers=1, num_attention_heads=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no layer of falcon") as caught:
        build_model(recipe_of(tmp_path, quantise={"bits": 4}), 60, tmp_path)
    assert [fault.remedy for fault in caught.value.faults] == ["set quantise.bits: 16"]
    assert build_model(recipe_of(tmp_path), 60, tmp_path)


NARROW = torch.bfloat16 if has_bf16() else torch.float32
"""What a CPU makes of bf16."""


@pytest.mark.parametrize(
    ("compute", "precision", "found"),
    [
        ("fp32", "bf16", torch.float32),
        ("bf16", "fp32", NARROW),
        ("auto", "fp32", torch.float32),
        ("auto", "bf16", NARROW),
    ],
)
def test_products_run_in_the_type_that_is_asked_for(
    compute: str, precision: str, found: torch.dtype, base: Path
) -> None:
    recipe = recipe_of(base, quantise={"bits": 4, "compute": compute}, precision={"compute": precision})
    config = quantisation(recipe)
    assert config is not None and config.bnb_4bit_compute_dtype is found
    assert quantisation(recipe_of(base)) is None


def test_a_forward_pass_without_gradients_leaves_the_bits_as_they_are(base: Path) -> None:
    model = build_model(recipe_of(base, quantise={"bits": 4, "compute": "fp32"}), 300, base).eval()
    ids, before = torch.arange(3, 40)[None], {n: p.detach().clone() for n, p in model.named_parameters()}
    with torch.no_grad():
        first = model(ids, document_lengths=(37,)).logits
        again = model(ids, document_lengths=(37,)).logits
    with_gradients = model.train()(ids, document_lengths=(37,)).logits.detach()
    assert all(torch.equal(one, before[name]) for name, one in model.named_parameters())
    assert torch.equal(first, again)
    torch.testing.assert_close(with_gradients, first, rtol=0, atol=1e-6)


def test_the_package_is_asked_for_by_name(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingPackage, match="bitsandbytes"):
        loading(quantisation(recipe_of(base, quantise={"bits": 4})), "cpu")
    assert loading(None, "cpu") == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nf4", "int8", "pissa", "loftq"])
def test_a_stopped_and_a_killed_run_end_in_the_weights_of_the_whole_one(
    kind: str, world: World, tmp_path: Path, write_recipe: Run
) -> None:
    """With evaluations between: these repack 4-bit weights in plain bitsandbytes."""
    quantise = {"nf4": {"bits": 4, "double": True}, "loftq": {"bits": 4}, "int8": {"bits": 8}, "pissa": {"bits": 16}}
    adapter = {"kind": "lora", "rank": 4, "dropout": 0.1}
    adapter |= {"init": kind} if kind in ("pissa", "loftq") else {}

    def command(out: Path) -> list[str]:
        tree = world.recipe(
            adapter=adapter,
            quantise=quantise[kind],
            data={"evaluate": [{"path": str(world.held_out)}]},
            batch={"steps": 40},
            evaluate={"every": 5},
            checkpoint={"every": 3},
            output={"dir": str(out)},
        )
        return ["train", str(write_recipe(tree, f"{out.name}.yaml"))]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert warm.run(command(whole), cwd=tmp_path).returncode == 0
    for step, signalled in ((3, signal.SIGTERM), (12, signal.SIGKILL)):
        process = warm.Process(command(broken), cwd=tmp_path)
        while process.poll() is None and not any(
            int(path.name[5:]) >= step for path in (broken / "checkpoints").glob("step-*")
        ):
            time.sleep(0.002)
        process.send_signal(signalled)
        assert process.wait() != 0, "the run ended before it was stopped"
    assert warm.run(command(broken), cwd=tmp_path).returncode == 0
    expected, found = (load_file(run / "model" / "adapter_model.safetensors") for run in (whole, broken))
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
    kept = read_quantisation(whole / "model")
    assert (kept is not None, bool(kept and kept.needed)) == (kind != "pissa", kind == "loftq")
