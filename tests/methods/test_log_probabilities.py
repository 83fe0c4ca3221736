"""Log-probabilities without all logits against PyTorch's own, with gradients by autograd."""

from __future__ import annotations

import pytest
import torch

from luthier.methods.cross_entropy import Head
from luthier.methods.log_probabilities import linear_log_probabilities
from tests.methods.test_cross_entropy import HEADS, away, largest, made

__all__ = ["largest"]


def written(numbers: torch.Tensor, labels: torch.Tensor, head: Head = Head()) -> torch.Tensor:  # noqa: B008
    """By their definition."""
    scaled = numbers * head.scale
    logits = scaled if head.cap is None else head.cap * torch.tanh(scaled / head.cap)
    return logits.log_softmax(-1).gather(1, labels[:, None])[:, 0]


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("rows", [5, 37, None])
def test_numbers_and_gradients_equal_the_written_ones(rows: int | None, head: Head, keeps: bool) -> None:
    hidden, weight, bias, labels = made()
    share = torch.linspace(-1, 2, len(labels))
    expected = written(hidden.double() @ weight.double().T + bias.double(), labels, head)
    plain = torch.autograd.grad((expected * share).sum(), (hidden, weight, bias))

    found = linear_log_probabilities(hidden, weight, bias, labels, head, rows, keeps)
    (found * share).sum().backward()

    assert away(found.detach(), expected.detach()) < 1e-6
    for parameter, gradient in zip((hidden, weight, bias), plain, strict=True):
        assert away(parameter.grad, gradient) < 1e-5


@pytest.mark.parametrize("keeps", [True, False])
def test_in_bf16_gradients_are_as_near_to_exact_ones_as_the_plain_way_comes(keeps: bool) -> None:
    hidden, weight, _, labels = made(count=200, size=64, vocabulary=500)
    share = torch.linspace(-1, 2, len(labels))
    exact = torch.autograd.grad((written((hidden @ weight.T).double(), labels) * share).sum(), (hidden, weight))
    with torch.autocast("cpu", torch.bfloat16):
        plain = written((hidden @ weight.T).float(), labels)
        found = linear_log_probabilities(hidden, weight, None, labels, rows=64, keeps=keeps)
    theirs, ours = (torch.autograd.grad((one * share).sum(), (hidden, weight)) for one in (plain, found))
    assert torch.equal(found, plain) or away(found.detach(), plain.detach()) < 1e-3
    for exactly, their, our in zip(exact, theirs, ours, strict=True):
        assert our.dtype is torch.float32
        assert away(our, exactly) < 1.5 * away(their, exactly) < 0.02


def test_all_logits_are_held_only_where_they_are_kept(largest: list[int]) -> None:
    hidden, weight, _, labels = made(count=300, vocabulary=400)
    held = {}
    for keeps in (True, False):
        largest.clear()
        linear_log_probabilities(hidden, weight, None, labels, rows=32, keeps=keeps).sum().backward()
        held[keeps] = max(largest)
    assert held == {True: 300 * 400, False: max(30 * 400, weight.numel())}
    largest.clear()
    with torch.no_grad():
        linear_log_probabilities(hidden, weight, None, labels, rows=32, keeps=True)
    assert max(largest) == held[False]


def test_kept_logits_become_gradients_once() -> None:
    hidden, weight, _, labels = made()
    found = linear_log_probabilities(hidden, weight, None, labels, keeps=True).sum()
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        found.backward()


def test_a_frozen_output_layer_gets_no_gradient() -> None:
    hidden, weight, bias, labels = made()
    found = linear_log_probabilities(hidden, weight.detach(), bias.detach(), labels, rows=8, keeps=False)
    found.sum().backward()
    [plain] = torch.autograd.grad(written(hidden @ weight.T + bias, labels).sum(), hidden)
    assert away(hidden.grad, plain) < 1e-5


def test_no_tokens_have_no_numbers_and_zero_gradients() -> None:
    hidden, weight, bias, labels = made()
    found = linear_log_probabilities(hidden[:0], weight, bias, labels[:0])
    found.sum().backward()
    assert found.shape == (0,)
    assert weight.grad is not None
    assert not weight.grad.any()
