"""The look at a model before it trains passes whatever is isolated, in the form in which it trains."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.errors import ModelError
from luthier.model.adapters import add_adapter
from luthier.model.attention_probe import check_isolation
from luthier.model.kernels.apply import facts_of, put_kernels
from luthier.model.kernels.choose import choose
from luthier.model.load import build_model
from luthier.recipe.validate import build
from tests.conftest import make_model
from tests.model.kernels.models import tiny
from tests.model.test_adapters import KINDS

CPU = torch.device("cpu")
SOME = ("lora", "dora", "ia3", "prefix", "prompt", "qlora nf4", "qlora int8")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base"), 300)


@pytest.mark.parametrize("kind", ["full", "reward", "lora and reward", *(kind for kind in SOME if kind in KINDS)])
def test_what_trains_passes(kind: str, base: Path) -> None:
    sections = dict(KINDS.get(kind, {"adapter": {"kind": "lora"}} if "lora" in kind else {}))
    if "reward" in kind:
        sections["method"] = {"kind": "reward"}
    recipe = build({"data": {"train": [{"path": "x"}]}, "model": {"path": str(base)}, **sections}, str)
    model: Any = add_adapter(build_model(recipe, 300, base), recipe)
    model = put_kernels(model, recipe, choose(recipe, facts_of(model, CPU, torch.bfloat16)), CPU).train()
    before = [one.clone() for one in model.parameters()]
    random = torch.get_rng_state()
    check_isolation(model, compute=torch.bfloat16, autocast=partial(torch.autocast, "cpu", torch.bfloat16))
    assert model.training and torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True))


def test_attention_that_mixes_documents_does_not_pass() -> None:
    model = tiny("llama", None)
    forward = model.forward
    model.forward = lambda input_ids, **_: forward(input_ids, use_cache=False)
    with pytest.raises(ModelError, match="LlamaForCausalLM does not keep documents apart"):
        check_isolation(model, compute=torch.float32)
