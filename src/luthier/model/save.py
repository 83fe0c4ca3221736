"""The result of a run, in the ecosystem's own layout: no Luthier is needed to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from luthier.errors import ModelError
from luthier.model.adapter_files import SETTINGS, adapter_settings, refuse_judge, rows_of
from luthier.model.alone import open_over_base
from luthier.model.attention_alone import goes_alone, run_alone
from luthier.model.last_layers import EMBEDDINGS, OUTPUTS
from luthier.model.load import architecture_of, open_model
from luthier.model.precision import DTYPES
from luthier.model.quantise import loading, read_quantisation, write_quantisation
from luthier.model.reward import as_reward_model
from luthier.model.rows import write_whole
from luthier.model.safe import check_model
from luthier.model.starts import starts_from_quantisation, write_relative
from luthier.model.tokenizer import local_directory, write_tokenizer
from luthier.model.weights import Weights

TRAIN_ONE = "train one with method.kind: reward"
"""What to do where a reward model is wanted and there is none."""


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
    if stops and inner.can_generate():
        inner.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
    try:
        if isinstance(model, PeftModel):
            if base is not None:
                model.peft_config["default"].base_model_name_or_path = (
                    str(Path(base).resolve()) if Path(base).is_dir() else base
                )
            model.save_pretrained(str(directory), safe_serialization=True, save_embedding_layers=False)
            write_relative(model, directory)
            write_whole(model, directory)
            write_quantisation(inner, directory, needed=starts_from_quantisation(model))
        else:
            if dtype in DTYPES:
                model.to(DTYPES[dtype])
            model.save_pretrained(str(directory), max_shard_size=shard_size)
    finally:
        inner.config.use_cache = False
    write_tokenizer(tokenizer, directory, chat_template)


def load_result(
    directory: Path, attention: str | None = None, *, reward: bool = False, dtype: Any = "auto"
) -> PreTrainedModel | PeftModel:
    """A saved result, a full model or an adapter on its base, ready to evaluate.

    Args:
        reward: of a model that judges answers.
        dtype: the type that a full model, or an adapter's base, is held in; auto is the one it is stored in.

    Raises:
        ModelError: the directory, or the base that its adapter names, cannot be opened.
    """
    if (directory / SETTINGS).exists():
        kept = read_quantisation(directory)
        quantised = loading(kept.config if kept else None, "auto")
        return open_on_base(directory, base_of(directory), attention, dtype, quantised, reward=reward)
    return _whole_judge(directory, attention, dtype) if reward else open_model(directory, attention, dtype).eval()


def _whole_judge(directory: Path, attention: str | None, dtype: Any) -> PreTrainedModel:
    """A saved reward model.

    Raises:
        ModelError: it cannot be opened as one, or has no head of its own.
    """
    check_model(directory)
    alone = goes_alone(architecture_of(directory))
    try:
        judge, report = AutoModelForSequenceClassification.from_pretrained(
            str(directory),
            attn_implementation=None if alone else attention,
            dtype=dtype,
            num_labels=1,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = f"cannot be opened as a reward model: {str(error).strip().splitlines()[0]}"
        raise ModelError(reason, place=str(directory), remedy=TRAIN_ONE) from error
    if report["missing_keys"]:
        lost = ", ".join(sorted(map(str, report["missing_keys"]))[:5])
        raise ModelError(f"is no reward model: it lacks {lost}", place=str(directory), remedy=TRAIN_ONE)
    if alone:
        run_alone(judge)
    model: PreTrainedModel = judge.eval()
    return model


def base_of(directory: Path) -> Path:
    """The directory of the base model that a saved adapter names.

    Raises:
        ModelError: it is not there.
    """
    settings = adapter_settings(directory)
    return local_directory(str(settings.get("base_model_name_or_path")), settings.get("revision"))


def open_on_base(
    directory: Path, base: Path, attention: str | None, dtype: Any, quantised: Any = None, *, reward: bool = False
) -> PeftModel:
    """A saved adapter on a base model, ready to evaluate; ``reward``: one that judges answers.

    Raises:
        ModelError: one of them cannot be opened, or it judges answers and is not to, or the other way round.
    """
    if not reward:
        refuse_judge(directory)
    elif adapter_settings(directory).get("task_type") != "SEQ_CLS":
        raise ModelError("is no adapter of a reward model", place=str(directory), remedy=TRAIN_ONE)
    model = _grown(open_model(base, attention, dtype, quantised or {}), directory)
    return open_over_base(as_reward_model(model, seed=0) if reward else model, directory)


def _grown(model: PreTrainedModel, directory: Path) -> PreTrainedModel:
    """A base with embeddings of as many rows as a saved adapter has for it, as it had when the adapter trained."""
    whole = (
        size[0]
        for name, (size, _) in Weights(directory).types().items()
        if name.removesuffix(".weight").endswith((*EMBEDDINGS, *OUTPUTS))
    )
    needed = max((*whole, *(row + 1 for row in rows_of(directory))), default=0)
    if model.get_input_embeddings().weight.shape[0] < needed:
        with torch.random.fork_rng():
            # The new rows are drawn, from one seed so that a model opened twice is the same.
            torch.manual_seed(0)
            model.resize_token_embeddings(needed)
    return model
