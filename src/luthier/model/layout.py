"""What a base model calls its parameters in memory, and how it holds them, told without reading a weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers.pytorch_utils import Conv1D

from luthier.model.hollow import hollow_model


@dataclass(frozen=True, slots=True)
class Layout:
    """Names in memory; files may lack ``prefix`` before theirs, or have others.

    ``turned`` are the layers whose weights are [in, out], and ``ends`` the embedding and the output layer, tied or not.
    """

    parameters: frozenset[str]
    turned: frozenset[str]
    ends: tuple[str, str]
    prefix: str

    def has(self, name: str) -> bool:
        """Whether a parameter has this name, or lies in a layer of this name."""
        return name in self.parameters or any(one.startswith(f"{name}.") for one in self.parameters)


def layout_of(directory: Path) -> Layout:
    """The layout of a saved model.

    Raises:
        ModelError: the directory holds code or pickles.
    """
    with torch.device("meta"):
        model = hollow_model(directory, "eager")
    names = {id(module): name for name, module in model.named_modules()}
    return Layout(
        parameters=frozenset(name for name, _ in model.named_parameters(remove_duplicate=False)),
        turned=frozenset(name for name, module in model.named_modules() if isinstance(module, Conv1D)),
        ends=(names[id(model.get_input_embeddings())], names[id(model.get_output_embeddings())]),
        prefix=model.base_model_prefix,
    )
