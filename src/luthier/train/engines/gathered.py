"""Parameters that are shared out, whole for a while: in the process that writes, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule


@contextmanager
def gathered(
    model: torch.nn.Module, first: bool, gather: Callable[[torch.Tensor], torch.Tensor | None]
) -> Iterator[bool]:
    """All processes gather every parameter in turn; the first one holds what they gather in place of its parts.

    Whatever is done to the model inside (its type changed, its classes asked for) is undone at the end.

    Args:
        model: the same in every process.
        first: whether this is the process that holds them.
        gather: a parameter -> the whole of it; None where it is whole already.
    """
    kept: list[tuple[torch.nn.Module, type, dict[str, Any], dict[str, Any]]] = []
    whole: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        own: dict[str, Any] = dict(module._parameters)
        for parameter in own.values():
            if parameter is None or id(parameter) in whole:
                continue
            full = gather(parameter)
            if first:
                whole[id(parameter)] = parameter if full is None else torch.nn.Parameter(full, parameter.requires_grad)
        if first:
            kept.append((module, type(module), own, dict(module._buffers)))
    for module, _, own, _ in kept:
        module._parameters.update({name: whole.get(id(one), one) for name, one in own.items()})
        if isinstance(module, FSDPModule):
            module.__class__ = type(module).__bases__[1]
    try:
        yield first
    finally:
        for module, kind, own, buffers in kept:
            module.__class__ = kind
            module._parameters.update(own)
            module._buffers.update(buffers)
