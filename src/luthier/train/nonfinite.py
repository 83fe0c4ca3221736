"""Which rows, and which part of the model, made a number that is not finite: found by computing them once more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge

from luthier.data.pack import Item

SHOWN = 5
"""Rows that a message names."""

Attempt = Callable[[int, list[Item]], tuple[torch.Tensor, tuple[str, ...]]]
"""The loss of a micro-batch (its number in the step, its documents) and the rows' origins, computed anew."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a number was not finite first, and the rows it came with."""

    where: str = ""
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (f", first in {self.where}" if self.where else "") + (f" ({rows_told(self.rows)})" if self.rows else "")


def rows_told(rows: Sequence[str]) -> str:
    """The first of some rows, and how many more there are.

    >>> rows_told(["a:1"]), rows_told([f"a:{n}" for n in range(9)])
    ('row a:1', 'rows a:0, a:1, a:2, a:3, a:4 and 4 more')
    """
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(rows[:SHOWN])}{more}"


@dataclass(slots=True)
class Seen:
    """The first module whose output was not finite, as it is named in the model; the first one that a gradient came
    to which was not; and the first output that has one, as a place to which gradients may be asked for."""

    name: str = ""
    reached: str = ""
    first: GradientEdge | None = None


@contextmanager
def watching(model: torch.nn.Module, *, gradients: bool = False) -> Iterator[Seen]:
    """Look at what every module gives, from the inside out, while the context lasts; and at the gradients that come to
    it, if these are asked for, which nothing is kept for."""
    seen = Seen()

    def hook(name: str) -> Callable[[torch.nn.Module, Any, Any], None]:
        def reach(gradient: torch.Tensor) -> None:
            if not seen.reached and not _finite(gradient):
                seen.reached = name

        def look(module: torch.nn.Module, given: Any, output: Any) -> None:
            if not seen.name and not _finite(output):
                seen.name = name or type(module).__name__
            if gradients and isinstance(output, torch.Tensor) and output.grad_fn is not None:
                seen.first = seen.first or get_gradient_edge(output)
                output.register_hook(reach)  # type: ignore[no-untyped-call]

        return look

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def find(
    model: torch.nn.Module,
    micros: Sequence[list[Item]],
    totals: Sequence[float],
    attempt: Attempt,
    backward: Callable[[torch.Tensor], None],
    devices: Sequence[torch.device],
) -> Finding:
    """What made a step's loss (``totals`` of its micro-batches) or, where these are finite, its gradient not finite.

    The weights come first, then the first micro-batch at fault, its first module, and those of its rows that are at
    fault by themselves, or all of them where none is. Beside weights, rows are told where others of the step are
    without fault. Gradients are left empty, random generators as they were.
    """
    weights = next((f"the weights of {name}" for name, one in model.named_parameters() if not _finite(one)), "")
    lost = [number for number, total in enumerate(totals) if not math.isfinite(total)]
    with torch.random.fork_rng(devices=list(devices)):
        for number in lost or range(len(micros)):
            test = _loss_fails if lost else _gradient_fails(model, backward)
            with watching(model) as seen:
                where, rows = test(*attempt(number, micros[number]))
            if rows:
                by_themselves = [test(*attempt(number, [item]))[1] for item in micros[number]]
                alone = tuple(dict.fromkeys(row for found in by_themselves for row in found))
                everything = len(lost) in (0, len(micros)) and len(alone) == len(dict.fromkeys(rows))
                return Finding(weights or seen.name or where, () if weights and everything else alone or rows)
    return Finding(weights)


def find_own(
    model: torch.nn.Module,
    micros: Sequence[tuple[int, list[Item]]],
    attempt: Attempt,
    gradients: Callable[[torch.Tensor], None] | None,
    devices: Sequence[torch.device],
    *,
    shared: bool,
) -> Finding:
    """What of this process's micro-batches (number in the step, documents) made a number that is not finite.

    All of them are computed once more, whatever is found, and no row by itself: engines exchange weights within each
    forward pass, and every process has equally many. With ``gradients``, which adds a loss's, those are looked at, else
    losses. Where they are ``shared`` out, nothing is added, for the parts of all processes would be spoilt: gradients
    are followed from the loss to where they come into the model, past the outputs of its modules.
    """
    found: list[Finding] = []
    followed = gradients is not None and shared
    again = _without_reentry(model) if followed else nullcontext()
    with torch.random.fork_rng(devices=list(devices)), nullcontext() if gradients else torch.no_grad(), again:
        for number, items in micros:
            with watching(model, gradients=followed) as seen:
                test = _reached(seen) if followed else _gradient_fails(model, gradients) if gradients else _loss_fails
                where, at_fault = test(*attempt(number, items))
            if at_fault:
                found.append(Finding(seen.name or where, at_fault))
    rows = tuple(dict.fromkeys(row for one in found for row in one.rows))
    return Finding(found[0].where, rows) if found else Finding()


@contextmanager
def _without_reentry(model: torch.nn.Module) -> Iterator[None]:
    """Let checkpointed layers compute again in a way that gradients can be followed through."""
    again: list[Any] = [module for module in model.modules() if _computes_again(module)]
    kept = [(layer, layer._gradient_checkpointing_func) for layer in again]
    for layer, function in kept:
        layer._gradient_checkpointing_func = partial(function, use_reentrant=False)
    try:
        yield
    finally:
        for layer, function in kept:
            layer._gradient_checkpointing_func = function


def _computes_again(module: torch.nn.Module) -> bool:
    return getattr(module, "gradient_checkpointing", False) and hasattr(module, "_gradient_checkpointing_func")


def together(findings: Sequence[tuple[str, Sequence[str]]]) -> Finding:
    """What each process found (where, which rows), in their order, as one.

    >>> str(together([("", []), ("model.norm", ["a:3"])]))
    ', first in model.norm of rank 1 (row a:3)'
    """
    where = [f"{place} of rank {rank}" for rank, (place, _) in enumerate(findings) if place]
    return Finding(" and in ".join(where), tuple(row for _, rows in findings for row in rows))


Test = Callable[[torch.Tensor, tuple[str, ...]], tuple[str, tuple[str, ...]]]
"""A loss and its rows -> where it fails, and the rows if it does."""


def _loss_fails(loss: torch.Tensor, rows: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return "the loss", () if _finite(loss) else rows


def _gradient_fails(model: torch.nn.Module, backward: Callable[[torch.Tensor], None]) -> Test:
    def test(loss: torch.Tensor, rows: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        model.zero_grad(set_to_none=True)
        backward(loss)
        wrong = [name for name, one in model.named_parameters() if one.grad is not None and not _finite(one.grad)]
        model.zero_grad(set_to_none=True)
        return (f"the gradient of {wrong[-1]}", rows) if wrong else ("", ())

    return test


def _reached(seen: Seen) -> Test:
    def test(loss: torch.Tensor, rows: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        if seen.first is not None:
            torch.autograd.grad(loss, [seen.first], allow_unused=True)
        return (f"the gradient that comes to {seen.reached}", rows) if seen.reached else ("", ())

    return test


def _finite(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, Mapping):
        value = list(value.values())
    return all(_finite(one) for one in value) if isinstance(value, list | tuple) else True
