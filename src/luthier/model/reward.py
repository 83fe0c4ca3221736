"""A causal language model whose vocabulary layer has given way to one number."""

from __future__ import annotations

from typing import Any

import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedModel

from luthier.errors import ModelError


def as_reward_model(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The same layers as transformers' own sequence classifier with one label; its head is drawn by seed.

    In plain transformers the reward stands at the last token that is not padding. Where an end token pads, that token
    would be passed over, and so no padding token is named.

    Raises:
        ModelError: transformers has no such classifier.
    """
    config: Any = model.config
    kind = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
    if kind is None:
        raise ModelError(
            f"transformers has no sequence classifier for {config.model_type}",
            place="model.path",
            remedy="use another model for method.kind: reward",
        )
    body = getattr(model, model.base_model_prefix)
    config.num_labels = 1
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    config.pad_token_id = None if config.pad_token_id in ends else config.pad_token_id
    with torch.device("meta"):
        made: Any = kind(config)
    setattr(made, made.base_model_prefix, body)
    torch.manual_seed(seed)
    head = torch.nn.Linear(made.score.in_features, 1, bias=False, dtype=torch.float32)
    torch.nn.init.normal_(head.weight, std=getattr(config, "initializer_range", 0.02))
    made.score = head
    made.train(model.training)
    named: PreTrainedModel = made
    return named


def hidden_and_head(model: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The layers below the head, and the head, of a reward model with or without an adapter."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    body: torch.nn.Module = getattr(inner, inner.base_model_prefix)
    return body, inner.score
