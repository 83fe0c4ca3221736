"""Gradient checkpointing by layer: which compute again, with gradients as without it."""

from __future__ import annotations

import copy
from collections import Counter

import pytest

from luthier.model.kernels.checkpoints import checkpoint_layers
from tests.model.kernels.models import assert_same_training, tiny


@pytest.mark.parametrize("offload", [False, True], ids=["", "offload"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["", "reentrant"])
@pytest.mark.parametrize(("every", "again"), [(1, [0, 1, 2, 3]), (2, [0, 2]), (3, [0, 3]), (9, [0])])
def test_every_nth_layer_computes_again(every: int, again: list[int], reentrant: bool, offload: bool) -> None:
    model = tiny("llama", num_hidden_layers=4).train()
    kept = copy.deepcopy(model)
    assert checkpoint_layers(kept, {"use_reentrant": reentrant}, every, offload=offload) == len(again)
    runs: Counter[int] = Counter()
    for number, layer in enumerate(kept.model.layers):
        layer.self_attn.register_forward_hook(lambda *_, number=number: runs.update([number]))
    assert_same_training(model, kept)
    assert [number for number in range(4) if runs[number] == 2] == again
