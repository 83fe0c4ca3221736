"""Every attention kernel that a CPU can run, against plain transformers, document by document."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from luthier.errors import ModelError
from luthier.model import attention_blocks
from luthier.model.attention import document_attention, register
from luthier.model.attention_flex import same_document
from tests.model.kernels.models import assert_same_training, tiny

LENGTHS = (9, 1, 30, 5)


def logits(model: Any, ids: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    with torch.no_grad():
        found: torch.Tensor = model(
            input_ids=ids, position_ids=positions, use_cache=False, document_lengths=lengths
        ).logits[0]
    return found


def plainly(model: Any, ids: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    """Each document alone, through transformers' own eager attention."""
    name = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found = torch.cat([model(one, use_cache=False).logits[0] for one in ids.split(list(lengths), dim=1)])
    model.set_attn_implementation(name)
    return found


FORMS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"num_key_value_heads": 4}),
    ("mistral", {"sliding_window": 4}),
    ("gemma2", {"attn_logit_softcapping": 0.5, "sliding_window": 6}),
]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kernel", ["sdpa", "blocks", "eager", "flex"])
@pytest.mark.parametrize(("architecture", "changes"), FORMS, ids=str)
def test_documents_have_the_logits_they_have_alone(kernel: str, architecture: str, changes: dict[str, Any]) -> None:
    model = tiny(architecture, kernel, **changes).eval()
    ids = torch.randint(3, 120, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0))
    if architecture == "gemma2" and kernel in ("sdpa", "blocks"):
        with pytest.raises(ModelError, match="needs a soft cap"):
            logits(model, ids, LENGTHS)
        return
    torch.testing.assert_close(logits(model, ids, LENGTHS), plainly(model, ids, LENGTHS), rtol=0, atol=2e-5)


def test_sinks_take_their_share() -> None:
    model = tiny("gpt_oss", "eager", num_local_experts=2, num_experts_per_tok=1, sliding_window=128).eval()
    ids = torch.randint(3, 120, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(logits(model, ids, LENGTHS), plainly(model, ids, LENGTHS), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kernel", ["blocks", "eager"])
@pytest.mark.parametrize("heads", [4, 2, 1])
def test_gradients_are_those_of_the_fused_kernel(kernel: str, heads: int) -> None:
    sdpa, other = (tiny("llama", name, num_key_value_heads=heads) for name in ("sdpa", kernel))
    assert_same_training(sdpa, other)


@pytest.mark.parametrize("length", [128, 129, 300, 700, 1100])
def test_blocks_meet_where_documents_are_long(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks, with weights that are kept and weights that are computed again."""
    monkeypatch.setattr(attention_blocks, "LONG", 2000)
    outputs, gradients = [], []
    for kernel in ("sdpa", "blocks"):
        attend = tiny("llama", kernel)
        torch.manual_seed(3)
        tensors = [torch.randn(1, heads, length + 5, 8, requires_grad=True) for heads in (4, 2, 2)]
        layer = attend.model.layers[0].self_attn
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        output, _ = ALL_ATTENTION_FUNCTIONS[register(kernel)](
            layer, *tensors, None, document_lengths=(length, 5), scaling=0.3
        )
        output.backward(torch.linspace(-1, 1, output.numel()).view_as(output))
        outputs.append(output)
        gradients.append([one.grad for one in tensors])
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("length", "long"), [(12, False), (13, True)])
def test_long_documents_in_fp32_go_to_the_kernel_that_is_faster_with_them(
    length: int, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_blocks, "LONG", 12)
    whole: list[tuple[int, ...]] = []
    own = document_attention

    def watched(*given: Any, **settings: Any) -> Any:
        whole.append(settings["document_lengths"])
        return own(*given, **settings)

    monkeypatch.setattr("luthier.model.attention_blocks.document_attention", watched)
    model, ids = tiny("llama", "blocks").eval(), torch.arange(3, 8 + length)[None]
    torch.testing.assert_close(logits(model, ids, (5, length)), plainly(model, ids, (5, length)), rtol=0, atol=2e-5)
    assert set(whole) == ({(5, length)} if long else set())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole.clear()
        logits(model, ids, (5, length))
        assert not whole


def test_changing_a_document_leaves_the_others_bit_identical() -> None:
    model = tiny("llama", "blocks").eval()
    ids = torch.randint(3, 120, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, 10:40] = ids[0, 10:40].flip(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before, after = logits(model, ids, LENGTHS), logits(model, other, LENGTHS)
    assert torch.equal(before[:10], after[:10]) and torch.equal(before[40:], after[40:])
    assert not torch.equal(before[10:40], after[10:40])


def test_flex_sees_what_the_documents_say() -> None:
    sees = same_document((2, 3), 2, torch.device("cpu"))
    places = torch.arange(5)
    nothing = torch.tensor(0)
    found = sees(nothing, nothing, places[:, None], places[None, :]).int().tolist()
    assert found == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]
