"""Layers compiled one by one: the same numbers, one compilation for all lengths, and no name changes."""

from __future__ import annotations

import copy
import shutil
from typing import Any

import pytest
import torch

from luthier.errors import RunError
from luthier.model.kernels.compiled import compile_layers
from tests.model.kernels.models import assert_same_training, loss_and_gradients, tiny

# PyTorch's tracer looks at attributes that warn, and its compiler imports what is deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


def pair(backend: str | None) -> tuple[Any, Any]:
    torch._dynamo.reset()
    model = tiny("llama").train()
    compiled = copy.deepcopy(model)
    assert compile_layers(compiled, backend, None) == 2
    assert compiled.state_dict().keys() == model.state_dict().keys()
    return model, compiled


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the default back end needs a C++ compiler")
def test_compiled_layers_learn_the_same() -> None:
    assert_same_training(*pair(None))


@pytest.mark.parametrize("checkpoints", [None, False, True], ids=["plain", "checkpoints", "reentrant"])
def test_the_captured_graphs_compute_the_same(checkpoints: bool | None) -> None:
    model, compiled = pair("aot_eager")
    if checkpoints is not None:
        compiled.activation_checkpointing_enable({"use_reentrant": checkpoints})
    assert_same_training(model, compiled)


def test_other_documents_are_not_compiled_anew() -> None:
    _, compiled = pair("aot_eager")
    for lengths in ((9, 5), (4, 4, 6), (11,)):
        loss_and_gradients(compiled, lengths)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for lengths in ((3, 8, 2, 7), (20, 5), (6, 6, 6)):
            loss_and_gradients(compiled, lengths)


def test_what_does_not_train_is_not_compiled() -> None:
    _, compiled = pair("aot_eager")
    compiled.eval()
    torch._dynamo.utils.counters.clear()
    with torch.no_grad():
        compiled(torch.tensor([[3, 4, 5]]), use_cache=False, document_lengths=(3,))
    assert not torch._dynamo.utils.counters["stats"]


def test_a_back_end_that_there_is_not_is_told() -> None:
    with pytest.raises(RunError, match="no back end 'inductr'"):
        compile_layers(tiny("llama"), "inductr", None)
