"""Gradient checkpointing (Chen et al. 2016): which layers compute again, and where what they keep lies."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def checkpoint_layers(model: Any, options: dict[str, Any], every: int = 1, *, offload: bool = False) -> int:
    """Let every n-th layer, from the first, keep its input alone; returns how many do.

    Args:
        options: of ``torch.utils.checkpoint.checkpoint``.
        offload: keep the inputs in page-locked host memory. Copying takes time on the way there and back.
    """
    if hasattr(model, "activation_checkpointing_enable"):  # the name since transformers 5.23
        model.activation_checkpointing_enable(options)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    model.enable_input_require_grads()
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    for place, layer in enumerate(layers):
        layer.gradient_checkpointing = place % every == 0
        if offload:
            layer._gradient_checkpointing_func = partial(_aside, **options)
    return sum(layer.gradient_checkpointing for layer in layers)


def _aside(function: Any, *args: Any, **options: Any) -> Any:
    """A checkpoint whose inputs wait in host memory."""
    with save_on_cpu(pin_memory=torch.cuda.is_available()):
        return checkpoint(function, *args, **options)
