"""ChatGLM3's weights as the tensors of a GLM model; most stay in their files until the model takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GlmConfig

from luthier.model.chatglm import check_tensors, glm_config
from luthier.model.weights import Weights


def as_glm(directory: Path) -> dict[str, Any]:
    """``config`` and ``state_dict`` of a ChatGLM3 checkpoint, as ``GlmForCausalLM.from_pretrained`` takes them.

    The tensors lie in memory maps of their files; only what was fused is copied, so that no two share their memory.

    Raises:
        ModelError: the config is not one of ChatGLM3's, or the tensors do not fit it; it names them.
    """
    tree = glm_config(json.loads((directory / "config.json").read_text(encoding="utf-8")), str(directory))
    weights = Weights(directory)
    sizes = {name: size for name, (size, _) in weights.types().items()}
    becomes = check_tensors(tree, sizes, str(directory))
    tensors: dict[str, torch.Tensor] = {}
    for file in weights.files:
        for name, whole in weights.of_file(file).items():
            parts, first = becomes.get(name, ()), 0
            for new, rows in parts:
                part = whole[first : first + rows]
                tensors[new] = part if len(parts) == 1 else part.clone()
                first += rows
    config = GlmConfig(**{key: value for key, value in tree.items() if key != "model_type"})
    config.name_or_path = str(directory)
    return {"config": config, "state_dict": tensors}
