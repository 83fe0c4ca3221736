"""Attention kernels of a GPU against one another, document by document."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from luthier.model.kernels.checkpoints import checkpoint_layers
from luthier.model.kernels.liger import use_liger
from tests.model.kernels.models import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

LENGTHS = (90, 1, 300, 57)


def needs(package: str) -> Any:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def wide(kernel: str, **changes: Any) -> Any:
    sizes = {"hidden_size": 256, "head_dim": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    return tiny("mistral", kernel, **{"sliding_window": None, **sizes, **changes}).cuda()


def learned(model: Any) -> tuple[float, dict[str, torch.Tensor]]:
    ids = torch.randint(3, 120, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0)).cuda()
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None].cuda()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        output = model(input_ids=ids, position_ids=positions, use_cache=False, document_lengths=LENGTHS)
        loss = torch.nn.functional.cross_entropy(output.logits[0, :-1].float(), ids[0, 1:])
    loss.backward()
    return float(loss.detach()), {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def assert_near(model: Any, other: Any) -> None:
    (first, ours), (second, theirs) = learned(model), learned(other)
    assert first == pytest.approx(second, rel=2e-3)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert (theirs[name] - gradient).norm() <= 0.05 * gradient.norm(), name


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize(
    "kernel",
    ["varlen", "eager", pytest.param("flex", marks=needs("triton")), pytest.param("flash", marks=needs("flash_attn"))],
)
def test_kernels_learn_what_documents_alone_learn(kernel: str, window: int | None) -> None:
    assert_near(wide("sdpa", sliding_window=window), wide(kernel, sliding_window=window))


@needs("liger_kernel")
def test_ligers_kernels_learn_the_same_and_leave_other_models_alone() -> None:
    model, other = wide("sdpa"), wide("sdpa")
    before = {type(module).forward for module in other.modules()}
    assert use_liger(other) == 7
    assert {type(module).forward for module in wide("sdpa").modules()} == before
    assert_near(model, other)


@pytest.mark.parametrize("reentrant", [False, True])
def test_inputs_of_checkpoints_wait_in_host_memory(reentrant: bool) -> None:
    peaks = []
    for offload in (False, True):
        model = wide("sdpa", num_hidden_layers=12, hidden_size=1024).train()
        checkpoint_layers(model, {"use_reentrant": reentrant}, offload=offload)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        peaks.append((learned(model)[0], torch.cuda.max_memory_allocated() - before))
        del model
    assert peaks[0][0] == pytest.approx(peaks[1][0], rel=1e-5)
    assert peaks[1][1] < peaks[0][1]
