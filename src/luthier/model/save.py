"""The result of a run, in the ecosystem's own layout: no Luthier is needed to use it."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from luthier.errors import ModelError
from luthier.model.load import DTYPES, open_model
from luthier.model.tokenizer import write_tokenizer


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
            wanted = DTYPES.get(dtype)
            state = {name: tensor.to(wanted) for name, tensor in model.state_dict().items()} if wanted else None
            model.save_pretrained(str(directory), max_shard_size=shard_size, state_dict=state)
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
    import json

    config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    base = Path(str(config.get("base_model_name_or_path")))
    if not base.is_dir():
        raise ModelError(f"the adapter's base model is not at {base}", place=str(directory), remedy="put it back there")
    model = open_model(base, attention, "auto")
    with torch.no_grad():
        return PeftModel.from_pretrained(model, str(directory)).eval()
