"""Adapters, through PEFT."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from luthier.errors import ModelError
from luthier.recipe import Recipe
from luthier.recipe.adapter import Adapter


def add_adapter(model: PreTrainedModel, recipe: Recipe) -> PreTrainedModel | PeftModel:
    """The model with the recipe's adapter; adapter weights are held in fp32, the rest frozen.

    Raises:
        ModelError: the targets match no layer.
    """
    adapter = recipe.adapter
    if adapter.kind == "none":
        return model
    torch.manual_seed(recipe.seed)
    try:
        wrapped = get_peft_model(model, _lora(adapter))
    except ValueError as error:
        raise ModelError(
            str(error).splitlines()[0], place="adapter.targets", remedy="name layers of this model, or all-linear"
        ) from error
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def _lora(adapter: Adapter) -> LoraConfig:
    init: Any = {
        "default": True,
        "gaussian": "gaussian",
        "pissa": "pissa",
        "olora": "olora",
        "orthogonal": "orthogonal",
    }[adapter.init]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets),
        modules_to_save=list(adapter.modules_to_save) or None,
        rank_pattern=dict(adapter.rank_pattern),
        alpha_pattern=dict(adapter.alpha_pattern),
        use_dora=adapter.dora,
        use_rslora=adapter.rslora,
        init_lora_weights=init,
        bias=adapter.bias,
        fan_in_fan_out=adapter.fan_in_fan_out,
    )
