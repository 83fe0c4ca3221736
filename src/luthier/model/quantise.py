"""Frozen weights in 4 or 8 bits, through bitsandbytes (QLoRA, Dettmers et al. 2023)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from luthier.errors import MissingPackage, ModelError
from luthier.model.precision import DTYPES, has_bf16
from luthier.recipe import Recipe

FILE = "quantisation.json"
"""Beside an adapter's weights: how the base that it was trained on was quantised."""

_STORAGE = {**DTYPES, "uint8": torch.uint8}


def quantisation(recipe: Recipe) -> BitsAndBytesConfig | None:
    """How the recipe's base model is quantised; None where it is not."""
    wanted = recipe.quantise
    if wanted.bits == 16:
        return None
    if wanted.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=wanted.kind,
        bnb_4bit_use_double_quant=wanted.double,
        bnb_4bit_compute_dtype=_compute(recipe),
        bnb_4bit_quant_storage=_STORAGE[wanted.storage],
    )


def _compute(recipe: Recipe) -> torch.dtype:
    """The type that products run in: quantise.compute, else precision.compute, else what the device is fast in."""
    on_gpu = torch.cuda.is_available() and recipe.runtime.device != "cpu"
    named = recipe.quantise.compute if recipe.quantise.compute != "auto" else recipe.precision.compute
    if named == "fp32" or (named != "auto" and on_gpu):
        return DTYPES[named]
    if on_gpu:
        return torch.bfloat16 if has_bf16("cuda") else torch.float16
    return torch.bfloat16 if has_bf16() else torch.float32


def loading(config: BitsAndBytesConfig | None, device: str) -> dict[str, Any]:
    """What ``from_pretrained`` is told so that it quantises while it loads, on the device where the weights stay.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        MissingPackage: bitsandbytes is not installed.
    """
    if config is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise MissingPackage(
            "bitsandbytes is not installed", place="quantise.bits", remedy="pip install 'luthier[quantise]'"
        )
    there = f"cuda:{torch.cuda.current_device()}" if device != "cpu" and torch.cuda.is_available() else "cpu"
    return {"quantization_config": config, "device_map": {"": there}}


def settle(model: torch.nn.Module) -> None:
    """Keep the packed bits in one layout.

    On CPUs bitsandbytes repacks a layer's bits at its first forward pass without gradients, and later products round
    otherwise: a run that has evaluated would differ from one that was resumed after it.
    """
    layer: Any
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def is_quantised(weight: torch.Tensor) -> bool:
    """Whether a parameter holds packed bits of bitsandbytes."""
    return type(weight).__name__ in ("Params4bit", "Int8Params")


def dequantised(layer: torch.nn.Module) -> torch.Tensor:
    """A quantised linear layer's weight in fp32, [out, in]."""
    from peft.utils.integrations import dequantize_module_weight

    weight: torch.Tensor = dequantize_module_weight(layer).detach().float()
    return weight


@dataclass(frozen=True, slots=True)
class Kept:
    """How the base of a saved adapter was quantised; ``needed``: the adapter fits no other weights."""

    config: BitsAndBytesConfig
    needed: bool


def write_quantisation(base: PreTrainedModel, directory: Path, *, needed: bool) -> None:
    """Write how a base was quantised beside its adapter; nothing where it was not."""
    config = getattr(base.config, "quantization_config", None)
    if isinstance(config, BitsAndBytesConfig):
        tree = {"quantization_config": config.to_dict(), "needed": needed}
        (directory / FILE).write_text(json.dumps(tree, indent=2, default=str) + "\n", encoding="utf-8")


def read_quantisation(directory: Path) -> Kept | None:
    """How the base of a saved adapter was quantised; None where it was not, or nobody has said.

    Raises:
        ModelError: the file that says so is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return Kept(BitsAndBytesConfig.from_dict(tree["quantization_config"]), bool(tree["needed"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"is damaged: {error}", place=str(path), remedy="delete it to use the full weights") from error
