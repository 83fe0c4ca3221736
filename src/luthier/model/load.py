"""A recipe -> the model that trains: from scratch or from a directory, in the right type, with the right parts free."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, GlmForCausalLM, LlamaConfig, PreTrainedModel
from transformers.utils import logging

from luthier.errors import ModelError
from luthier.model.adapter_files import refuse_judge
from luthier.model.attention import NAMES, register
from luthier.model.attention_alone import goes_alone, run_alone
from luthier.model.chatglm import is_chatglm
from luthier.model.chatglm_weights import as_glm
from luthier.model.dropout import without_dropout
from luthier.model.free import means, pattern_faults
from luthier.model.hollow import hollow_model
from luthier.model.kernels.checkpoints import checkpoint_layers
from luthier.model.last_layers import last_layers
from luthier.model.precision import DTYPES
from luthier.model.quantise import is_quantised, loading, quantisation, settle
from luthier.model.reward import as_reward_model
from luthier.model.safe import check_model
from luthier.model.shape import default_intermediate, shape_of_directory, weight_files
from luthier.recipe import Recipe
from luthier.recipe.inert import PREFERENCES
from luthier.recipe.model import Scratch

logging.disable_progress_bar()
# PEFT asks transformers under a name that transformers 5.23 calls deprecated; users can do nothing about it.
warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated", category=FutureWarning)


def build_model(
    recipe: Recipe,
    vocabulary: int,
    directory: Path | None,
    special: Mapping[str, int | None] = MappingProxyType({}),
    *,
    hollow: bool = False,
) -> PreTrainedModel:
    """The model before adapters, on the CPU, with isolated attention.

    Args:
        vocabulary: ids of the tokenizer; the embedding grows to hold them.
        directory: where the weights lie; None builds ``model.scratch`` from the recipe's seed.
        special: ``bos_token_id`` and the like, for the config of a model from scratch.
        hollow: build its modules alone; PyTorch's default device is meta.

    Raises:
        ModelError: the directory cannot be read as a causal language model.
    """
    attention = register()
    if directory is None:
        assert recipe.model.scratch is not None, "validated: a model has a path or a shape"
        torch.manual_seed(recipe.seed)
        config = _llama(recipe.model.scratch, vocabulary, special)
        model = AutoModelForCausalLM.from_config(
            config,
            attn_implementation=attention,
            dtype=DTYPES.get(recipe.model.dtype, torch.float32),
            trust_remote_code=False,
        )
    elif hollow:
        model = hollow_model(directory, attention)
    else:
        quantised = loading(quantisation(recipe), recipe.runtime.device)
        model = open_model(directory, attention, weights_type(recipe), quantised)
    multiple = recipe.model.vocabulary_multiple
    rows = -(-vocabulary // multiple) * multiple
    if model.get_input_embeddings().weight.shape[0] < rows:
        torch.manual_seed(recipe.seed)
        model.resize_token_embeddings(rows, mean_resizing=not hollow)
    if recipe.method.kind == "reward":
        model = as_reward_model(model, recipe.seed)
    if recipe.method.kind in PREFERENCES and not recipe.method.model_dropout:
        without_dropout(model)
    model.config.use_cache = False
    _free(model, recipe, directory)
    if recipe.runtime.gradient_checkpointing:
        options = {"use_reentrant": recipe.runtime.checkpoint_reentrant}
        checkpoint_layers(model, options, recipe.runtime.checkpoint_every, offload=recipe.runtime.checkpoint_offload)
    return model


def open_model(
    directory: Path, attention: str | None, dtype: Any, quantised: Mapping[str, Any] = MappingProxyType({})
) -> PreTrainedModel:
    """A saved causal language model; weights must fit its config exactly.

    Args:
        attention: transformers' name of an implementation; None is ``own_attention``. A model that takes none keeps its
            own, and is given its documents one by one where they are to be isolated.
        quantised: what ``quantise.loading`` makes of a quantisation.

    Raises:
        ModelError: what is wrong with the directory.
    """
    check_model(directory)
    refuse_judge(directory)
    weight_files(directory)
    native = is_chatglm(directory)
    source = as_glm(directory) if native else {}
    alone = not native and goes_alone(architecture_of(directory))
    try:
        model, report = (GlmForCausalLM if native else AutoModelForCausalLM).from_pretrained(
            None if native else str(directory),
            attn_implementation=None if alone else attention,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **source,
            **quantised,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot be opened as a causal language model: {reason}",
            place=str(directory),
            remedy="check model.path; code from a model's folder is never run",
        ) from error
    if report["missing_keys"] or report.get("mismatched_keys"):
        lost = sorted(map(str, [*report["missing_keys"], *report.get("mismatched_keys", ())]))
        raise ModelError(
            f"lacks weights: {', '.join(lost[:5])} ({len(lost)} in all)",
            place=str(directory),
            remedy="download it again",
        )
    if quantised and not any(map(is_quantised, model.parameters())):
        raise ModelError(
            f"bitsandbytes finds no layer of {architecture_of(directory)} that it can quantise",
            place="quantise.bits",
            remedy="set quantise.bits: 16",
        )
    settle(model)
    if alone and attention in NAMES:
        run_alone(model)
    return model


def architecture_of(directory: Path) -> str:
    """The ``model_type`` of a saved model's config; empty where it has none."""
    try:
        return str(json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def weights_type(recipe: Recipe) -> Any:
    """The type that a run holds the weights of its directory in; ``auto`` is the one they are stored in."""
    return DTYPES.get(recipe.model.dtype, "auto" if recipe.adapter.kind != "none" else torch.float32)


def _llama(scratch: Scratch, vocabulary: int, special: Mapping[str, int | None]) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=scratch.hidden,
        num_hidden_layers=scratch.layers,
        num_attention_heads=scratch.heads,
        num_key_value_heads=scratch.kv_heads or scratch.heads,
        intermediate_size=scratch.intermediate or default_intermediate(scratch.hidden),
        max_position_embeddings=scratch.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": scratch.rope_theta},
        tie_word_embeddings=scratch.tie_embeddings,
        initializer_range=scratch.init_std,
        **{"bos_token_id": None, "eos_token_id": None, **special},
    )


def _free(model: PreTrainedModel, recipe: Recipe, directory: Path | None) -> None:
    """Freeze what the recipe does not train; adapters freeze the rest themselves.

    Raises:
        ModelError: an expression of the recipe's means no parameter.
    """
    patterns, last = recipe.model.trainable, recipe.model.last_layers
    if (not patterns and last is None) or recipe.adapter.kind != "none":
        return
    names = tuple(name for name, _ in model.named_parameters())
    sources = shape_of_directory(directory).sources if directory is not None and patterns else {}
    faults = list(pattern_faults(patterns, names, sources))
    if faults:
        raise ModelError(*faults)
    layers = model.config.get_text_config().num_hidden_layers
    kept = last_layers(names, layers, last) if last is not None else frozenset[str]()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in kept or means(patterns, name, sources))
