"""Every parameter of a model: name, shape, type, quantisation, whether it trains; without reading a weight."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GlmConfig

from luthier.errors import ModelError
from luthier.model.adapter_files import SETTINGS
from luthier.model.adapters import adapter_config
from luthier.model.chatglm import check_tensors, glm_config, is_chatglm, native_names
from luthier.model.load import build_model
from luthier.model.prompts import with_prompts
from luthier.model.quiet import quiet
from luthier.model.reward import as_reward_model
from luthier.model.safe import SAFE, check_model, pickles
from luthier.model.weights import Weights
from luthier.recipe import Recipe

PARTS = (
    ("adapter", r"lora_|ia3_|prompt_encoder|prompt_embeddings|trainable_tokens|modules_to_save"),
    ("embeddings", r"embed|wte|wpe"),
    ("output", r"lm_head|output_layer|embed_out"),
    ("norms", r"norm|ln_|\.ln"),
    ("attention", r"attn|attention|query|dense\b(?!_)"),
    ("mlp", r"mlp|ffn|feed_forward|fc\d|gate_proj|up_proj|down_proj"),
)
"""Part -> what its parameters' names contain, asked in this order."""

NAMES = {"F32": "fp32", "BF16": "bf16", "F16": "fp16", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "float64": 8, "F64": 8, "I64": 8, "I32": 4}


WRAPPED = ("", "base_model.", "base_model.model.")
"""What PEFT puts before the names of a model's own parameters."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``quantised`` is nf4, fp4, int8 or empty; ``dtype`` is then that of the scales' products."""

    name: str
    part: str
    shape: tuple[int, ...]
    dtype: str
    quantised: str
    trains: bool

    @property
    def count(self) -> int:
        """Numbers in it."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes that they take, without the scales of quantised ones."""
        if self.quantised:
            return self.count if self.quantised == "int8" else -(-self.count // 2)
        return self.count * BYTES.get(self.dtype, 1)


@dataclass(frozen=True, slots=True)
class Structure:
    """What a model is made of; ``title`` says at which moment."""

    title: str
    architecture: str
    parameters: tuple[Parameter, ...]

    def totals(self) -> dict[str, dict[str, int]]:
        """By part, and all together: tensors, numbers, how many of them train, bytes."""
        found: dict[str, Counter[str]] = {}
        for one in self.parameters:
            for part in (one.part, "all"):
                trained = one.count if one.trains else 0
                numbers = {"tensors": 1, "parameters": one.count, "trained": trained, "bytes": one.bytes}
                found.setdefault(part, Counter()).update(numbers)
        order = [name for name, _ in PARTS] + ["other", "all"]
        return {part: dict(found[part]) for part in order if part in found}

    def tree(self) -> dict[str, Any]:
        """As plain values."""
        rows = [
            {field: getattr(one, field) for field in (*Parameter.__slots__, "count", "bytes")}
            for one in self.parameters
        ]
        return {"title": self.title, "architecture": self.architecture, "totals": self.totals(), "parameters": rows}

    def folded(self) -> list[tuple[Parameter, int]]:
        """The parameters with those of like layers as one row, its layers as ``0..31``, and how many it stands for."""
        groups: dict[tuple[Any, ...], list[Parameter]] = {}
        for one in self.parameters:
            key = (re.sub(r"\.\d+\.", ".*.", one.name, count=1), one.shape, one.dtype, one.quantised, one.trains)
            groups.setdefault(key, []).append(one)
        return [(_named(group), len(group)) for group in groups.values()]


def _named(group: list[Parameter]) -> Parameter:
    numbers = sorted(int(found[1]) for one in group if (found := re.search(r"\.(\d+)\.", one.name)))
    if len(group) == 1:
        return group[0]
    whole = numbers == list(range(numbers[0], numbers[-1] + 1))
    label = f"{numbers[0]}..{numbers[-1]}" if whole else ",".join(map(str, numbers))
    return replace(group[0], name=re.sub(r"\.\d+\.", f".{label}.", group[0].name, count=1))


def part_of(name: str) -> str:
    """The part of a model that a parameter belongs to, by its name.

    >>> part_of("model.layers.0.self_attn.q_proj.weight"), part_of("lm_head.weight")
    ('attention', 'output')
    """
    return next((part for part, pattern in PARTS if re.search(pattern, name)), "other")


def inspect_directory(directory: Path) -> Structure:
    """A saved model as its files' headers tell it; all of it trains unless something is added.

    Raises:
        ModelError: the directory holds no model.
    """
    path = directory / "config.json"
    if not path.exists() and not (directory / SETTINGS).exists():
        raise ModelError(
            "is neither a run nor a model directory", place=str(directory), remedy="name one, or a recipe's file"
        )
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"model_type": "adapter"}
    kind = _stored_quantisation(config)
    weights = Weights(directory)
    types = weights.types()
    if not types and (pickled := pickles(directory)):
        raise ModelError(f"holds no .safetensors weights but {pickled[0]}", place=str(directory), remedy=SAFE)
    # Quantised files hold packed bits under the weight's own name, and its scales under names that go on from it.
    scales = {name: _owner(name) for name in types if _owner(name) in types and _owner(name) != name}
    rows = []
    for name, (shape, dtype) in types.items():
        packed = bool(kind) and name in scales.values()
        if packed and kind != "int8":
            shape, dtype = _unpacked(weights, f"{name}.quant_state.bitsandbytes__{kind}")
        if name not in scales:
            rows.append(Parameter(name, part_of(name), shape, NAMES.get(dtype, dtype), kind if packed else "", True))
    return Structure("as stored", str(config.get("model_type", "unknown")), tuple(rows))


def _unpacked(weights: Weights, state: str) -> tuple[tuple[int, ...], str]:
    """The shape and the type of a weight before it was packed, as bitsandbytes writes them beside it in JSON.

    Raises:
        ModelError: it did not.
    """
    try:
        told = json.loads(bytes(weights[state].tolist()))
        return tuple(map(int, told["shape"])), str(told["dtype"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"lacks {state}, which says how a weight is packed",
            place=str(weights.files[0].parent),
            remedy="download it again",
        ) from error


def _owner(name: str) -> str:
    return re.sub(r"(?:\.weight\..*|\.SCB|\.weight_format)$", ".weight", name)


def _stored_quantisation(config: dict[str, Any]) -> str:
    stored = config.get("quantization_config") or {}
    if stored.get("load_in_8bit"):
        return "int8"
    return str(stored.get("bnb_4bit_quant_type", "")) if stored.get("load_in_4bit") else ""


def inspect_recipe(
    recipe: Recipe, directory: Path | None, vocabulary: int, new_tokens: Sequence[int] = ()
) -> tuple[Structure, Structure]:
    """The model before and after the recipe's quantisation, adapter and freezing, built without weights.

    Args:
        vocabulary: ids of the tokenizer, with which the embedding grows.
        new_tokens: ids whose rows train beside an adapter.

    Raises:
        ModelError: the directory holds no causal language model.
    """
    if directory is None:
        model = build_model(recipe, vocabulary, None)
        rows = _rows(model, trains=lambda _: True)
    else:
        stored = _stored_types(directory)
        model = _without_weights(directory)
        rows = tuple(replace(one, dtype=stored.get(one.name, one.dtype)) for one in _rows(model, lambda _: True))
        multiple = recipe.model.vocabulary_multiple
        grown = -(-vocabulary // multiple) * multiple
        if model.get_input_embeddings().weight.shape[0] < grown:
            model.resize_token_embeddings(grown, mean_resizing=False)
        if recipe.method.kind == "reward":
            model = as_reward_model(model, recipe.seed)
    first = Structure("before", model.config.model_type, rows)
    bare = recipe.model_copy(update={"quantise": type(recipe.quantise)()})
    after = _with_adapter(model, bare, directory, new_tokens)
    types = {one.name: one.dtype for one in rows}
    named = recipe.model.dtype
    full = "fp32" if recipe.adapter.kind == "none" else None
    linear = {f"{name}.weight" for name, one in after.named_modules() if isinstance(one, torch.nn.Linear)}
    code = {4: recipe.quantise.kind, 8: "int8", 16: ""}[recipe.quantise.bits]

    def changed(one: Parameter) -> Parameter:
        own = re.sub(r"\.(base_layer|original_module|modules_to_save|token_adapter)(?=\.)", "", one.name)
        own = next((end for end in (own.removeprefix(start) for start in WRAPPED) if end in types), "")
        dtype = "fp32" if one.trains and recipe.adapter.kind != "none" else types.get(own, "fp32")
        dtype = named if named != "auto" and own in types and not one.trains else dtype
        dtype = (named if named != "auto" else full) if full else dtype
        packed = code and one.name in linear and part_of(own) not in ("output", "embeddings") and not one.trains
        return replace(one, dtype=dtype or "fp32", quantised=code if packed else "")

    return first, Structure("after", first.architecture, tuple(map(changed, _rows(after))))


def _without_weights(directory: Path) -> Any:
    """A saved model as transformers builds it, ChatGLM3's as GLM, on no device."""
    check_model(directory)
    try:
        if is_chatglm(directory):
            tree = glm_config(json.loads((directory / "config.json").read_text(encoding="utf-8")), str(directory))
            config: Any = GlmConfig(**{name: value for name, value in tree.items() if name != "model_type"})
        else:
            config = AutoConfig.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot be built as a causal language model: {reason}", place=str(directory), remedy="check model.path"
        ) from error
    model.tie_weights()
    return model


def _stored_types(directory: Path) -> dict[str, str]:
    """The type in which each parameter is stored, under the name that it has in transformers."""
    stored = {one.name: one for one in inspect_directory(directory).parameters}
    if not is_chatglm(directory):
        return {name: one.dtype for name, one in stored.items()}
    tree = glm_config(json.loads((directory / "config.json").read_text(encoding="utf-8")), str(directory))
    becomes = check_tensors(tree, {name: one.shape for name, one in stored.items()}, str(directory))
    return {new: stored[name].dtype for name, parts in becomes.items() for new, _ in parts}


def _with_adapter(model: Any, recipe: Recipe, directory: Path | None, new_tokens: Sequence[int] = ()) -> Any:
    from peft import get_peft_model

    from luthier.model.load import _free

    _free(model, recipe, directory)
    if recipe.adapter.kind == "none":
        return model
    adapter = native_names(recipe.adapter, model.config.model_type)
    config = adapter_config(model, adapter.model_copy(update={"init": "default"}), new_tokens)
    if not config.is_prompt_learning:
        with quiet():
            return get_peft_model(model, config, low_cpu_mem_usage=True)
    if hasattr(config, "prompt_tuning_init"):
        config.prompt_tuning_init = "RANDOM"
    with torch.device("meta"):
        return with_prompts(model, config)


def _rows(model: Any, trains: Any = lambda one: one.requires_grad) -> tuple[Parameter, ...]:
    named: Iterable[tuple[str, torch.Tensor]] = model.named_parameters()
    return tuple(
        Parameter(
            name.replace(".default", ""),
            part_of(name),
            tuple(one.shape),
            NAMES.get(str(one.dtype).removeprefix("torch."), str(one.dtype).removeprefix("torch.")),
            "",
            bool(trains(one)),
        )
        for name, one in named
    )
