"""What a loss needs in place of a model's output layer, so that its logits are made chunk by chunk.

It is computed where the layer is called, inside the model's own forward pass: whatever is wrapped around the model
(adapters, prefixes, several processes) sees an ordinary forward pass, and the weight is whole when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from luthier.methods.cross_entropy import Head

_forms: WeakKeyDictionary[nn.Module, Head | None] = WeakKeyDictionary()


def output_layer(model: nn.Module) -> tuple[nn.Linear, Head] | None:
    """A model's output layer, where it is a plain linear one, and what becomes of its numbers; else None.

    A layer that is quantised, adapted, trained as a copy or shared out among processes is none; nor is one whose
    numbers are made into logits in a way that is not known. The model is asked once, with one token; what its layer is
    can change later, when an engine shares it out.
    """
    inner: Any = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    layer = None if inner is None else inner.get_output_embeddings()
    if type(layer) is not nn.Linear or type(layer.weight) is not nn.Parameter or hasattr(layer.weight, "ds_id"):
        return None
    if model not in _forms:
        _forms[model] = _form(inner, layer)
    form = _forms[model]
    return None if form is None else (layer, form)


def _form(inner: Any, layer: nn.Linear) -> Head | None:
    """What a model does to the numbers of its output layer: it is given known ones in their place, for one token."""
    known: list[torch.Tensor] = []

    def instead(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        known.append(torch.linspace(-60, 60, output.numel(), device=output.device).view_as(output).to(output.dtype))
        return known[-1]

    hook = layer.register_forward_hook(instead)
    was_training = inner.training
    inner.eval()
    try:
        with torch.no_grad():
            one = torch.zeros(1, 1, dtype=torch.long, device=layer.weight.device)
            logits = inner(input_ids=one, position_ids=one, use_cache=False, document_lengths=(1,)).logits
    finally:
        inner.train(was_training)
        hook.remove()
    if len(known) != 1 or known[0].shape != logits.shape:
        return None
    before, after = known[0].double().flatten(), logits.double().flatten()
    cap: float | None = getattr(inner.config.get_text_config(), "final_logit_softcapping", None)
    scale = float((before @ after) / (before @ before))
    close = 1e-5 if logits.dtype is torch.float32 else 1e-2
    forms: list[Head] = [Head(), *([Head(cap=float(cap))] if cap else []), Head(scale=scale)]
    for form in forms:
        made = form.scale * before if form.cap is None else form.cap * torch.tanh(before / form.cap)
        if torch.allclose(made, after, rtol=close, atol=close):
            return form
    return None


@contextmanager
def instead(layer: nn.Linear, compute: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[Callable[[], torch.Tensor]]:
    """While it lasts, the layer computes something else of its inputs [n, size] than their logits.

    Gives a function that returns it after the model's forward pass.
    """
    found: list[torch.Tensor] = []

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        found.append(compute(hidden.flatten(0, -2)))
        return found[-1].view(1, 1, -1)

    layer.forward = forward  # type: ignore[method-assign, assignment]
    try:
        yield lambda: found[-1]
    finally:
        del layer.forward
