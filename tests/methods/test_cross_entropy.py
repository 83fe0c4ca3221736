"""The chunked loss against a plain one written here from its definition, with gradients by autograd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from luthier.methods.cross_entropy import Head, Terms, linear_cross_entropy, plain_cross_entropy

TERMS = [
    Terms(),
    Terms(smoothing=0.1),
    Terms(z_loss=1e-2),
    Terms(by_probability=True),
    Terms(smoothing=0.2, z_loss=1e-2, by_probability=True),
]
HEADS = [Head(), Head(scale=0.25), Head(cap=3.0)]


def written(logits: torch.Tensor, labels: torch.Tensor, terms: Terms) -> torch.Tensor:
    """The loss, token by token, as its papers write it."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, label in zip(logits, labels, strict=True):
        p = torch.softmax(row, 0)
        wanted = torch.full_like(p, terms.smoothing / len(p))
        wanted[label] += 1 - terms.smoothing
        loss = -(wanted * p.log()).sum()
        if terms.by_probability:
            loss = loss * p[label].detach()
        total = total + loss + terms.z_loss * torch.logsumexp(row, 0) ** 2
    return total


def made(seed: int = 0, count: int = 37, size: int = 16, vocabulary: int = 53) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(seed)
    hidden = torch.randn(count, size, requires_grad=True)
    weight = torch.randn(vocabulary, size, requires_grad=True)
    bias = torch.randn(vocabulary, requires_grad=True)
    return hidden, weight, bias, torch.randint(vocabulary, (count,))


def away(found: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    assert found is not None
    assert expected is not None
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("terms", TERMS, ids=str)
@pytest.mark.parametrize("rows", [5, 37, None])
def test_losses_and_gradients_equal_the_written_ones(terms: Terms, head: Head, rows: int | None) -> None:
    hidden, weight, bias, labels = made()
    numbers = (hidden.double() @ weight.double().T + bias.double()) * head.scale
    logits = numbers if head.cap is None else head.cap * torch.tanh(numbers / head.cap)
    expected = written(logits, labels, terms)
    plain = torch.autograd.grad(expected, (hidden, weight, bias))

    found = linear_cross_entropy(hidden, weight, bias, labels, terms, head, rows)
    (found[0] * 0.5).backward()

    assert float(found[0].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(found[1].detach()) == pytest.approx(float(written(logits, labels, Terms()).detach()), rel=1e-5)
    for parameter, gradient in zip((hidden, weight, bias), plain, strict=True):
        assert away(parameter.grad, gradient * 0.5) < 1e-5


@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_the_loss_of_whole_logits_is_the_same(terms: Terms) -> None:
    hidden, weight, bias, labels = made()
    logits = (hidden @ weight.T + bias).detach().requires_grad_()
    expected = written(logits.double(), labels, terms)
    [gradient] = torch.autograd.grad(expected, logits)
    found = plain_cross_entropy(logits, labels, terms)
    found[0].backward()
    assert float(found[0].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert away(logits.grad, gradient) < 1e-5


def test_in_bf16_gradients_are_as_near_to_exact_ones_as_the_plain_loss_comes() -> None:
    hidden, weight, _, labels = made(count=200, size=64, vocabulary=500)
    exact = torch.autograd.grad(written((hidden @ weight.T).double(), labels, Terms()), (hidden, weight))
    with torch.autocast("cpu", torch.bfloat16):
        plain = torch.nn.functional.cross_entropy((hidden @ weight.T).float(), labels, reduction="sum")
        found = linear_cross_entropy(hidden, weight, None, labels, rows=64)
    theirs, ours = (torch.autograd.grad(loss, (hidden, weight)) for loss in (plain, found[0]))
    assert float(found[0].detach()) == pytest.approx(float(plain.detach()), rel=1e-3)
    for exactly, their, our in zip(exact, theirs, ours, strict=True):
        assert our.dtype is torch.float32
        assert away(our, exactly) < 1.5 * away(their, exactly) < 0.02


def test_very_unlikely_tokens_have_their_exact_loss() -> None:
    """A probability of exp(-200) is no number of fp32."""
    weight = torch.eye(4)
    hidden = torch.tensor([[200.0, 0.0, 0.0, 0.0]], requires_grad=True)
    found = linear_cross_entropy(hidden, weight, None, torch.tensor([2]))
    found[0].backward()
    assert float(found[0].detach()) == pytest.approx(200.0)
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[1.0, 0.0, -1.0, 0.0]]


def test_nothing_trained_gives_no_loss_and_zero_gradients() -> None:
    hidden, weight, bias, labels = made()
    found = linear_cross_entropy(hidden[:0], weight, bias, labels[:0])
    found[0].backward()
    assert float(found[0].detach()) == 0.0
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of all tensors that are made, by PyTorch's own account."""
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = function(*args, **(kwargs or {}))
            sizes.extend(one.numel() for one in torch.utils._pytree.tree_leaves(out) if isinstance(one, torch.Tensor))
            return out

    with Watch():
        yield sizes


def test_all_logits_are_never_held_at_once(largest: list[int]) -> None:
    hidden, weight, _, labels = made(count=300, vocabulary=400)
    largest.clear()
    linear_cross_entropy(hidden, weight, None, labels, rows=32)[0].backward()
    assert max(largest) <= max(32 * 400, weight.numel())
    largest.clear()
    plain_cross_entropy(hidden @ weight.T, labels)[0].backward()
    assert max(largest) == 300 * 400


def test_without_gradients_only_the_losses_are_made() -> None:
    hidden, weight, bias, labels = made()
    with torch.no_grad():
        found = linear_cross_entropy(hidden, weight, bias, labels)
    assert not found.requires_grad
    expected = torch.nn.functional.cross_entropy(hidden @ weight.T + bias, labels, reduction="sum")
    assert float(found[0]) == pytest.approx(float(expected.detach()), rel=1e-6)
