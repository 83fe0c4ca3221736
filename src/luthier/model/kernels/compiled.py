"""torch.compile, layer by layer: like layers share one compiled form, and parameters keep their names."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from luthier.errors import RunError
from luthier.model.attention import Sealed


def compile_layers(model: Any, backend: str | None, mode: str | None) -> int:
    """Compile every decoder layer for training, lengths left open; returns how many there are.

    Attention stays outside, as its documents differ in every batch, and so does what is not training: an answer would
    be compiled anew as it grows. Under gradient checkpointing the layer is compiled, and the checkpoint is around it.

    Raises:
        RunError: PyTorch knows no such back end.
    """
    known = torch._dynamo.list_backends(exclude_tags=())
    if backend is not None and backend not in known:
        raise RunError(
            f"PyTorch has no back end {backend!r}",
            place="runtime.compile_backend",
            remedy=f"use one of: {', '.join(sorted(known))}",
        )
    attention = model.config.get_text_config()._attn_implementation
    if attention.startswith("luthier_"):
        AttentionInterface.register(attention, torch.compiler.disable(ALL_ATTENTION_FUNCTIONS[attention]))  # type: ignore[no-untyped-call]
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    forms: dict[Any, Any] = {}
    for layer in layers:
        # transformers wraps the forward pass that a class is written with to put the checkpoint around it.
        written = getattr(type(layer).forward, "__wrapped__", type(layer).forward)
        if written not in forms:
            forms[written] = torch.compile(written, backend=backend or "inductor", mode=mode, dynamic=True)
        layer.forward = partial(_run, layer, layer.forward, forms[written])
    return len(layers)


def _run(layer: Any, plain: Any, compiled: Any, *args: Any, **kwargs: Any) -> Any:
    """A layer's forward pass: compiled where it trains, else as it was."""
    if not layer.training:
        return plain(*args, **kwargs)
    if kwargs.get("document_lengths") is not None:
        kwargs["document_lengths"] = Sealed(kwargs["document_lengths"])
    if layer.gradient_checkpointing:
        return layer._gradient_checkpointing_func(partial(compiled, layer, **kwargs), *args)
    return compiled(layer, *args, **kwargs)
