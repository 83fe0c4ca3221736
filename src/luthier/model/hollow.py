"""A model without its numbers, for processes that another one hands them to.

Of the processes that share out a model, the first alone reads its weights; the others build the same modules on
PyTorch's meta device, where tensors have a shape and no memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GlmConfig, PreTrainedModel

from luthier.model.adapter_files import starts_as_nothing
from luthier.model.chatglm import glm_config, is_chatglm
from luthier.model.safe import check_model
from luthier.recipe import Recipe


def may_be_hollow(recipe: Recipe) -> bool:
    """Whether the recipe's model can be built without looking at a weight: packed bits bring tables of their own, and
    some adapters start from what the weights are."""
    adapter = recipe.adapter
    if recipe.quantise.bits < 16 or recipe.method.kind == "reward":
        return False
    if adapter.kind == "none":
        return True
    return adapter.kind == "lora" and starts_as_nothing(adapter) and not adapter.dora


def hollow_model(directory: Path, attention: str) -> PreTrainedModel:
    """The modules of a saved model; to be built inside ``torch.device("meta")``.

    Raises:
        ModelError: the directory holds code or pickles.
    """
    check_model(directory)
    if is_chatglm(directory):
        tree = glm_config(json.loads((directory / "config.json").read_text(encoding="utf-8")), str(directory))
        config: Any = GlmConfig(**{key: value for key, value in tree.items() if key != "model_type"})
    else:
        config = AutoConfig.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)
    config.name_or_path = str(directory)
    made: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, attn_implementation=attention, trust_remote_code=False
    )
    return made


def described(model: torch.nn.Module) -> list[list[Any]]:
    """Name, shape and type of every tensor of a model, as plain values in an order that all processes share."""
    return [[name, list(one.shape), str(one.dtype).removeprefix("torch.")] for name, one in tensors_of(model)]


def agree(model: torch.nn.Module, wanted: list[list[Any]]) -> None:
    """Give a hollow model's tensors the types that the first process's have."""
    own = dict(tensors_of(model))
    assert [[name, list(one.shape)] for name, one in own.items()] == [one[:2] for one in wanted], "one model in all"
    for name, _, kind in wanted:
        if own[name].dtype is not getattr(torch, kind):
            own[name].data = own[name].data.to(getattr(torch, kind))


def tensors_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter and buffer once."""
    yield from model.named_parameters()
    yield from model.named_buffers()
