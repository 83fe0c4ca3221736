"""Adapters, through PEFT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    PromptTuningInit,
    get_peft_model,
)
from safetensors import SafetensorError
from transformers import PreTrainedModel

from luthier.errors import Fault, ModelError
from luthier.model.adapter_files import adapter_directory, adapter_settings, is_feedforward, rows_of, token_rows
from luthier.model.chatglm import native_names
from luthier.model.last_layers import OUTPUTS
from luthier.model.layer_names import beside_rows, left_out, misnamed, with_parts
from luthier.model.patterns import in_any_order
from luthier.model.prompts import PromptModel, with_prompts
from luthier.model.quiet import quiet
from luthier.model.rows import open_with_rows, train_rows
from luthier.model.safe import check_adapter
from luthier.model.starts import START, keep_start, start_from_factors, start_from_quantisation
from luthier.model.tokenizer import local_directory
from luthier.recipe import Recipe
from luthier.recipe.adapter import Adapter


def add_adapter(model: PreTrainedModel, recipe: Recipe, new_tokens: Sequence[int] = ()) -> PreTrainedModel | PeftModel:
    """The model with the recipe's adapter; adapter weights are held in fp32, the rest frozen.

    ``new_tokens`` are ids whose rows of the embeddings train beside the adapter, and are saved with it.

    Raises:
        ModelError: a name in the adapter's settings matches no layer, or the adapter to go on from does not fit.
    """
    adapter = native_names(recipe.adapter, model.config.model_type)
    if adapter.kind == "none":
        return model
    torch.manual_seed(recipe.seed)
    if adapter.continue_from is not None:
        wrapped = _continued(model, adapter, new_tokens)
    else:
        wrapped = _begun(model, adapter, new_tokens)
        if adapter.kind == "lora" and adapter.init == "olora":
            start_from_factors(wrapped)
        if adapter.kind == "lora" and adapter.init in ("pissa", "olora"):
            keep_start(wrapped)
        if adapter.kind == "lora" and adapter.init == "loftq":
            assert recipe.model.path is not None, "validated: an adapter needs trained weights below it"
            start_from_quantisation(wrapped, local_directory(recipe.model.path, recipe.model.revision))
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def adapter_config(model: PreTrainedModel, adapter: Adapter, new_tokens: Sequence[int] = ()) -> PeftConfig:
    """What PEFT is told of the recipe's adapter."""
    common: dict[str, Any] = {"task_type": "SEQ_CLS" if hasattr(model, "score") else "CAUSAL_LM"}
    if adapter.kind == "prefix":
        return PrefixTuningConfig(
            **common,
            num_virtual_tokens=adapter.virtual_tokens,
            prefix_projection=adapter.projection,
            encoder_hidden_size=adapter.projection_width,
        )
    if adapter.kind == "prompt":
        init = PromptTuningInit.SAMPLE_VOCAB
        return PromptTuningConfig(**common, num_virtual_tokens=adapter.virtual_tokens, prompt_tuning_init=init)
    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    common |= {"target_modules": targets, "modules_to_save": list(adapter.modules_to_save) or None}
    common["fan_in_fan_out"] = adapter.fan_in_fan_out
    if adapter.kind == "ia3":
        config = IA3Config(**common, feedforward_modules=_feedforward(model, adapter))
        return train_rows(config, _rows(model, adapter, new_tokens) or {})
    return LoraConfig(
        **common,
        exclude_modules=list(left_out(adapter, model.config.model_type)) or None,
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        rank_pattern=dict(adapter.rank_pattern),
        alpha_pattern=dict(adapter.alpha_pattern),
        use_dora=adapter.dora,
        use_rslora=adapter.rslora,
        init_lora_weights=START[adapter.init],
        bias=adapter.bias,
        trainable_token_indices=_rows(model, adapter, new_tokens),
    )


def _begun(model: PreTrainedModel, adapter: Adapter, new_tokens: Sequence[int]) -> PeftModel:
    modules = [name for name, _ in model.named_modules()]
    faults = list(_beside_rows(model, adapter)) if new_tokens else []
    if faults:
        raise ModelError(*faults)
    try:
        config = adapter_config(model, adapter, new_tokens)
        if config.is_prompt_learning:
            return with_prompts(model, config)
        with quiet():
            wrapped = get_peft_model(model, config)
    except ValueError as error:
        told = Fault(str(error).splitlines()[0], "adapter.targets", "name layers of this model, or all-linear")
        raise ModelError(*(list(misnamed(adapter, modules)) or [told])) from error
    tuner: Any = wrapped.base_model
    adapted = [*tuner.targeted_module_names, *with_parts(tuner.targeted_parameter_names)]
    faults = list(misnamed(adapter, modules, adapted))
    if faults:
        raise ModelError(*faults)
    if adapter.kind == "lora":
        layers = [*tuner.targeted_module_names, *tuner.targeted_parameter_names]
        made = wrapped.peft_config["default"]
        made.rank_pattern = in_any_order(made.rank_pattern, layers)
        made.alpha_pattern = in_any_order(made.alpha_pattern, layers)
    return wrapped


def _continued(model: PreTrainedModel, adapter: Adapter, new_tokens: Sequence[int]) -> PeftModel:
    """The model with a saved adapter that trains on; its own shape holds, the recipe's dropout."""
    place = str(adapter.continue_from)
    directory = adapter_directory(place)
    rows = rows_of(directory)
    if max(rows, default=-1) >= model.get_input_embeddings().weight.shape[0]:
        raise ModelError(
            f"trains rows of tokens up to {max(rows)}, which the tokenizer has not",
            place=place,
            remedy=f"set tokenizer.path to {directory}",
        )
    if not set(new_tokens) <= rows:
        raise ModelError(
            "has no rows for the tokens that the recipe adds", place=place, remedy="merge it first, and start a new one"
        )
    try:
        return open_adapter(model, str(directory), trains=True, dropout=adapter.dropout)
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"does not fit the model: {str(error).splitlines()[0]}",
            place=place,
            remedy="set model.path to the base it was trained on",
        ) from error


def open_adapter(
    model: PreTrainedModel, directory: str, *, trains: bool = False, dropout: float | None = None
) -> PeftModel:
    """The model with a saved adapter.

    Raises:
        ModelError: its settings or weights are damaged, or the weights are pickled.
    """
    check_adapter(Path(directory), adapter_settings(Path(directory)))
    config = PeftConfig.from_pretrained(directory)
    config.inference_mode = not trains
    if dropout is not None and hasattr(config, "lora_dropout"):
        config.lora_dropout = dropout
    if hasattr(config, "prefix_projection"):
        # What PEFT saves is the prefix that a network made, and neither the network nor a way back to it.
        config.prefix_projection = False
    rows = token_rows(Path(directory))
    try:
        with quiet():
            if rows:
                return open_with_rows(model, Path(directory), config, rows)
            if not config.is_prompt_learning:
                return PeftModel.from_pretrained(model, directory, config=config, is_trainable=trains)
        wrapped: PromptModel = with_prompts(model, config)
        wrapped.load_adapter(directory, "default", is_trainable=trains)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot be read: {error}", place=directory, remedy="save the adapter again") from error
    return wrapped


def _rows(model: PreTrainedModel, adapter: Adapter, new_tokens: Sequence[int]) -> dict[str, list[int]] | None:
    """The new tokens' rows by the layer that holds them; a layer that is saved whole trains whole."""
    if not new_tokens:
        return None
    ends = [model.get_input_embeddings()]
    if not getattr(model.config, "tie_word_embeddings", False):
        ends.append(model.get_output_embeddings())
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    wanted = [names[id(end)] for end in ends if end is not None]
    return {name: list(new_tokens) for name in wanted if name not in adapter.modules_to_save} or None


def _beside_rows(model: PreTrainedModel, adapter: Adapter) -> Iterator[Fault]:
    names = {id(module): name for name, module in model.named_modules()}
    output = names.get(id(model.get_output_embeddings()))
    tied = output is None or bool(getattr(model.config, "tie_word_embeddings", False))
    return beside_rows(adapter, names[id(model.get_input_embeddings())], output or OUTPUTS[0], tied=tied)


def _feedforward(model: PreTrainedModel, adapter: Adapter) -> list[str] | str:
    """The targets whose inputs (IA)3 scales, as its paper does with the MLP's last layer; others have their outputs."""
    if not isinstance(adapter.targets, str):
        return [target for target in adapter.targets if is_feedforward(target)]
    found = {name for name, _ in model.named_modules() if is_feedforward(name)}
    leaves = sorted({name.rpartition(".")[2] for name in found})
    return rf".*\b({'|'.join(leaves)})" if leaves else []
