"""A base spoken through without the adapter on it, with its own biases where they trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from luthier.model.adapter_files import adapter_settings
from luthier.model.adapters import open_adapter


def open_over_base(model: PreTrainedModel, directory: Path) -> PeftModel:
    """The model with a saved adapter, ready to evaluate; the biases that the adapter brings of its own do not lose
    those of the base, which ``base_alone`` gives back.

    Raises:
        ModelError: the adapter's settings or weights are damaged, or the weights are pickled.
    """
    own = list[tuple[Any, torch.Tensor]]()
    if adapter_settings(directory).get("bias", "none") != "none":
        biases = ((module, getattr(module, "bias", None)) for module in model.modules())
        own = [(module, bias.detach().clone()) for module, bias in biases if isinstance(bias, torch.nn.Parameter)]
    with torch.no_grad():
        wrapped = open_adapter(model, str(directory)).eval()
    wrapped._biases_of_base = own
    return wrapped


@contextmanager
def base_alone(model: Any) -> Iterator[None]:
    """The base below an adapter, for the time. PEFT switches off what it adds, and not the biases that it trains; they
    are put back where the adapter was opened by ``open_over_base``."""
    own: list[tuple[Any, torch.Tensor]] = getattr(model, "_biases_of_base", [])
    with ExitStack() as off:
        with warnings.catch_warnings():
            # PEFT warns of the biases, which are seen to here.
            warnings.filterwarnings("ignore", message="Careful, disabling adapter layers with bias")
            off.enter_context(model.disable_adapter())
        trained = [(module, module.bias.data) for module, _ in own]
        try:
            for module, bias in own:
                module.bias.data = bias.to(module.bias)
            yield
        finally:
            for module, bias in trained:
                module.bias.data = bias
