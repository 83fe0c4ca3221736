"""The result of a run, in the ecosystem's own layout: no Luthier is needed to use it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from luthier.model.load import DTYPES, open_model
from luthier.model.tokenizer import local_directory, write_tokenizer


def save_model(
    model: PreTrainedModel | PeftModel,
    directory: Path,
    *,
    tokenizer: Path,
    chat_template: str | None,
    stops: list[int],
    base: str | None,
    dtype: str = "auto",
    shard_size: str = "5GB",
) -> None:
    """Write the weights (an adapter's alone, if there is one), the tokenizer and the chat template.

    Args:
        stops: ids that end an answer, for ``generation_config.json``.
        base: the base model that an adapter is recorded to belong to.
        dtype: fp32, bf16 or fp16 to bring a full model to that type first; auto leaves it as it is.
    """
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    inner.config.use_cache = True
    if stops:
        inner.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
    try:
        if isinstance(model, PeftModel):
            if base is not None:
                model.peft_config["default"].base_model_name_or_path = (
                    str(Path(base).resolve()) if Path(base).is_dir() else base
                )
            model.save_pretrained(str(directory), safe_serialization=True)
        else:
            if dtype in DTYPES:
                model.to(DTYPES[dtype])
            model.save_pretrained(str(directory), max_shard_size=shard_size)
    finally:
        inner.config.use_cache = False
    write_tokenizer(tokenizer, directory, chat_template)


def load_result(directory: Path, attention: str = "sdpa") -> PreTrainedModel | PeftModel:
    """A saved result, a full model or an adapter on its base, ready to evaluate.

    Raises:
        ModelError: the directory, or the base that its adapter names, cannot be opened.
    """
    if not (directory / "adapter_config.json").exists():
        return open_model(directory, attention, "auto").eval()
    config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    base = local_directory(str(config.get("base_model_name_or_path")), config.get("revision"))
    model = open_model(base, attention, "auto")
    with torch.no_grad():
        return PeftModel.from_pretrained(model, str(directory)).eval()
