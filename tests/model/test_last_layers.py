"""All but the last layers are frozen, however a model calls its layers, its last norm and its output."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from luthier.model.load import _free
from luthier.model.shape import shape_of_directory
from luthier.plan.parameters import trainable_parameters
from luthier.recipe.validate import build
from tests.model.kernels.models import tiny

KINDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("llama", {}, "model.layers", "model.norm"),
    ("llama", {"tie_word_embeddings": True}, "model.layers", "model.norm"),
    ("gpt2", {}, "transformer.h", "transformer.ln_f"),
    ("bloom", {}, "transformer.h", "transformer.ln_f"),
    ("falcon", {"head_dim": ..., "num_key_value_heads": ...}, "transformer.h", "transformer.ln_f"),
    ("gpt_neox", {}, "gpt_neox.layers", "gpt_neox.final_layer_norm"),
    ("opt", {"word_embed_proj_dim": 32, "ffn_dim": 48}, "model.decoder.layers", "model.decoder.final_layer_norm"),
    ("mamba", {"state_size": 4}, "backbone.layers", "backbone.norm_f"),
]


@pytest.mark.parametrize(("kind", "changes", "layers", "norm"), KINDS, ids=str)
@pytest.mark.parametrize("last", [1, 2])
def test_what_is_left_free(
    kind: str, changes: dict[str, Any], layers: str, norm: str, last: int, tmp_path: Path
) -> None:
    model = tiny(kind, None, num_hidden_layers=3, **changes)
    model.save_pretrained(tmp_path)
    recipe = build({"model": {"path": "m", "last_layers": last}, "data": {"train": [{"path": "x"}]}}, str)
    _free(model, recipe, None)
    parts = [*attrgetter(layers)(model)[-last:], attrgetter(norm)(model), model.get_output_embeddings()]
    expected = {id(one) for part in parts for one in part.parameters()}
    assert {id(one) for one in model.parameters() if one.requires_grad} == expected
    free = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert trainable_parameters(recipe, shape_of_directory(tmp_path)) == free
