"""Operations of a run, the machine's speed, its device and its number types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from luthier.data.batch import collate
from luthier.data.tokens import Tokens
from luthier.methods.causal import Pretrain
from luthier.model.adapters import add_adapter
from luthier.model.load import build_model
from luthier.model.shape import shape_of_directory
from luthier.plan.compute import ASSUMED, compute_here, device_here, operations, remember_speed, speed
from luthier.recipe import Recipe
from luthier.train.engines.single import compute_type
from tests.conftest import make_model
from tests.plan.conftest import Make

LENGTHS = (64, 48, 16)


def counted(recipe: Recipe, directory: Path) -> int:
    """Operations of one forward and backward pass over three documents, as torch counts them."""
    import numpy as np

    model = add_adapter(build_model(recipe, 64, directory), recipe).train()
    items = [Tokens(np.arange(n, dtype=np.int32) % 64, np.ones(n, dtype=np.bool_), "x") for n in LENGTHS]
    batch = Pretrain().collate(items)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(Pretrain().loss(model, batch).total)
    return counter.get_total_flops()


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("sections", "tolerance"),
    [
        ({}, 0.01),
        ({"runtime": {"gradient_checkpointing": True}}, 0.07),
        ({"adapter": {"kind": "lora", "rank": 4}}, 0.01),
        ({"adapter": {"kind": "lora", "rank": 64}}, 0.02),
        ({"adapter": {"kind": "lora", "rank": 4, "modules_to_save": ["lm_head", "embed_tokens"]}}, 0.01),
        ({"adapter": {"kind": "ia3"}}, 0.01),
        ({"adapter": {"kind": "prefix", "virtual_tokens": 8}}, 0.03),
        ({"adapter": {"kind": "prompt", "virtual_tokens": 8}}, 0.01),
        ({"model": {"last_layers": 1}}, 0.01),
        ({"model": {"trainable": ["lm_head"]}}, 0.01),
        ({"model": {"trainable": [r"layers\.1\.mlp"]}}, 0.01),
        ({"model": {"trainable": [r"layers\.2\.self_attn\.v_proj", "down_proj"]}}, 0.01),
    ],
    ids=str,
)
def test_operations_are_those_that_torch_counts(
    make: Make, tmp_path: Path, sections: dict[str, Any], tolerance: float
) -> None:
    """Attention aside, which torch does not count on a CPU. Recomputing leaves a layer's last product out, and what an
    adapter of the lowest products is given needs no gradient, which the formula does not see."""
    directory = make_model(
        tmp_path, 64, hidden_size=128, intermediate_size=352, num_hidden_layers=3, num_key_value_heads=4
    )
    recipe = make(**{**sections, "model": {"path": str(directory), **sections.get("model", {})}})
    targets = sum(length - 1 for length in LENGTHS)
    ours = operations(recipe, shape_of_directory(directory), sum(LENGTHS), targets, 0.0, len(LENGTHS))
    assert ours == pytest.approx(counted(recipe, directory), rel=tolerance)


def test_only_trained_tokens_cost_the_output_layer(make: Make, tmp_path: Path) -> None:
    shape = shape_of_directory(make_model(tmp_path, 64))
    some, none = (operations(make(), shape, 100, targets, 0.0) for targets in (10, 0))
    assert some - none == 3 * 2 * 10 * 64 * 32


def test_causal_attention_costs_half_a_square_for_each_product(make: Make, tmp_path: Path) -> None:
    shape = shape_of_directory(make_model(tmp_path, 64))
    long, short = (operations(make(), shape, 100, 0, squared) for squared in (100.0**2, 0.0))
    assert long - short == 3 * (2 * 2 * 100**2 / 2 * 32) * 2


def test_the_speed_is_assumed_until_a_run_has_measured_it() -> None:
    from luthier.environment import cores

    assert speed("cpu", "fp32") == (ASSUMED["cpu"] * cores(), False)
    assert speed("cuda", "bf16") == (ASSUMED["cuda"], False)
    remember_speed("cpu", "fp32", 5e9)
    assert speed("cpu", "fp32") == (5e9, True)
    assert not speed("cpu", "bf16")[1] and not speed("cuda", "fp32")[1]


def test_a_damaged_memory_of_the_speed_is_no_memory() -> None:
    from luthier.environment import cache_folder

    remember_speed("cpu", "fp32", 5e9)
    [file] = (cache_folder() / "speed").iterdir()
    for content in ("", "{", "{}", '{"operations_per_second": "x"}'):
        file.write_text(content)
        assert speed("cpu", "fp32")[1] is False


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "file"))
    remember_speed("cpu", "fp32", 5e9)
    assert not speed("cpu", "fp32")[1]


def test_the_device_is_told_without_torch_as_torch_tells_it() -> None:
    assert device_here("cpu") == "cpu" and device_here("cuda") == "cuda"
    assert device_here("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("wanted", ["auto", "fp32", "bf16", "fp16"])
def test_the_compute_type_is_told_as_the_engine_chooses_it(wanted: str) -> None:
    engine = str(compute_type(wanted, torch.device("cpu"))).removeprefix("torch.")
    assert {"fp32": "float32", "bf16": "bfloat16"}[compute_here(wanted, "cpu")] == engine


@pytest.mark.parametrize(("wanted", "found"), [("auto", "bf16"), ("fp32", "fp32"), ("bf16", "bf16"), ("fp16", "fp16")])
def test_on_a_gpu_auto_is_bf16_and_a_wish_is_kept(wanted: str, found: str) -> None:
    assert compute_here(wanted, "cuda") == found


def test_documents_are_collated_end_to_end() -> None:
    """The counting above stands on this: one row of all tokens, and no attention across documents."""
    import numpy as np

    batch = collate([Tokens(np.arange(n, dtype=np.int32), np.ones(n, dtype=np.bool_), "x") for n in LENGTHS])
    assert batch.input_ids.shape == (1, sum(LENGTHS)) and batch.boundaries.diff().tolist() == list(LENGTHS)
