"""An optimiser's state between steps as tensors and whole numbers only, so that any checkpoint can hold it.

Libraries keep more: numbers in groups, tables that all parameters share, objects of their own. ``plain`` takes these
apart after each step and ``rebuilt`` puts them together before the next; neither copies a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch

State = MutableMapping[str, Any]
Change = Callable[[torch.nn.Parameter, State], None]


def _nothing(parameter: torch.nn.Parameter, state: State) -> None:
    """For optimisers whose state is plain."""


def keep_plain(
    optimizer: torch.optim.Optimizer,
    *,
    plain: Change = _nothing,
    rebuilt: Change = _nothing,
    of_groups: tuple[str, ...] = (),
) -> None:
    """Keep the state plain between steps.

    Args:
        optimizer: what to watch.
        plain: takes a parameter's state apart.
        rebuilt: puts it together, of tensors that may come from a checkpoint.
        of_groups: numbers that change from step to step in each group; they are kept with its first parameter.
    """

    def before(*_: Any) -> None:
        for group in optimizer.param_groups:
            first = optimizer.state.get(group["params"][0], {})
            group.update({name: _number(first.pop(f"group.{name}")) for name in of_groups if f"group.{name}" in first})
            for parameter in group["params"]:
                state = optimizer.state.get(parameter)
                if state:
                    state.update({name: _number(value) for name, value in state.items()})
                    rebuilt(parameter, state)

    def after(*_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                state = optimizer.state.get(parameter)
                if state:
                    plain(parameter, state)
                    for name in [name for name, value in state.items() if isinstance(value, float) or value is None]:
                        state[name] = _exact(state[name])
            first = optimizer.state[group["params"][0]]
            first.update({f"group.{name}": _exact(group[name]) for name in of_groups})

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def count_steps(optimizer: torch.optim.Optimizer) -> None:
    """Give a stateless optimiser the count of its steps as a state: a checkpoint without any cannot be gone on from."""

    def after(*_: Any) -> None:
        state = optimizer.state[optimizer.param_groups[0]["params"][0]]
        state["steps"] = state.get("steps", 0) + 1

    optimizer.register_step_post_hook(after)


def _exact(value: Any) -> torch.Tensor:
    """A number as a tensor that holds all of it; None as an empty one."""
    if value is None:
        return torch.empty(0, dtype=torch.bool)
    return value.clone() if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=_KINDS.get(type(value)))


_KINDS = {float: torch.float64, int: torch.int64, bool: torch.bool}


def _number(value: Any) -> Any:
    """What ``_exact`` was given: numbers that libraries keep as tensors are fp32 or int32, and stay so."""
    if not isinstance(value, torch.Tensor) or value.dtype not in _KINDS.values():
        return value
    if value.dtype is torch.bool and value.shape == (0,):
        return None
    return value.item() if value.ndim == 0 else value
