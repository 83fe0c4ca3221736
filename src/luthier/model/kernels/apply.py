"""A recipe's kernels put into a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from luthier.environment import processor_vendor
from luthier.errors import ModelError
from luthier.model.attention import register
from luthier.model.attention_alone import goes_alone, is_alone, run_alone
from luthier.model.attention_own import own_attention
from luthier.model.kernels.architectures import dropout_of
from luthier.model.kernels.choose import MLP, QKV, Choice, Here, installed_here
from luthier.model.kernels.compiled import compile_layers
from luthier.model.kernels.joined import join_layers
from luthier.model.kernels.liger import use_liger
from luthier.model.kernels.lora import fuse_lora
from luthier.model.kernels.norm import fuse_norms
from luthier.model.kernels.products import ONEDNN, PLAIN, use_onednn
from luthier.model.kernels.rotary import fuse_rotary
from luthier.recipe import Recipe


def facts_of(model: Any, device: torch.device, compute: torch.dtype) -> Here:
    """What the choice of kernels rests on, now that the model and its device are there."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 1
    return Here(
        device=device.type,
        compute={torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[compute],
        head=getattr(config, "head_dim", None) or config.hidden_size // heads,
        architecture=config.model_type,
        layers=frozenset(name.rpartition(".")[2] for name, _ in model.named_modules()),
        packages=installed_here(),
        capability=torch.cuda.get_device_capability(device) if device.type == "cuda" else None,
        closed=is_alone(model) or goes_alone(config.model_type),
        dropout=dropout_of(config.to_dict()),
        vendor=processor_vendor(),
    )


def put_kernels(model: Any, recipe: Recipe, chosen: Mapping[str, Choice], device: torch.device) -> Any:
    """The model, adapters included, with the kernels that were chosen; every parameter keeps its name.

    A model that one device holds whole is moved there first, as moving it later would take joined weights apart.

    Raises:
        ModelError: documents would go alone, and the recipe has layers that are run equally often everywhere.
        RunError: PyTorch has no such compiler as the recipe names.
    """
    if recipe.parallel.stage == 0 and recipe.parallel.deepspeed is None:
        model = model.to(device)
    put_attention(model, recipe, chosen["attention"].name)
    if chosen["liger"].name == "on":
        use_liger(model)
    elif chosen["rms_norm"].name == "on":
        fuse_norms(model)
    if chosen["rotary"].name == "on":
        fuse_rotary(model)
    if chosen["lora"].name == "on":
        fuse_lora(model, (QKV, MLP), ONEDNN if chosen["onednn"].name == "on" else PLAIN)
    for name, layers in (("fuse_qkv", QKV), ("fuse_mlp", MLP)):
        if chosen[name].name == "on":
            join_layers(model, layers)
    if chosen["onednn"].name == "on":
        use_onednn(model)
    if recipe.runtime.compile:
        compile_layers(model, recipe.runtime.compile_backend, recipe.runtime.compile_mode)
    return model


def put_attention(model: Any, recipe: Recipe, kernel: str) -> None:
    """Give a model, adapters included, the attention that keeps documents apart.

    Raises:
        ModelError: documents would go alone, and the recipe has layers that are run equally often everywhere.
    """
    if kernel == "alone":
        _go_alone(model, recipe)
    else:
        model.set_attn_implementation(register(kernel))


def _go_alone(model: Any, recipe: Recipe) -> None:
    """Give a model its documents one by one, through the fastest attention that transformers has for it."""
    if recipe.parallel.engine == "fsdp" or recipe.parallel.stage == 3:
        raise ModelError(
            "documents of this model go one by one, as many as each process has, and shared-out layers have to be run "
            "equally often in all of them",
            place="parallel.stage",
            remedy="use parallel.engine: ddp, or DeepSpeed below stage 3",
        )
    if not is_alone(model):
        model.set_attn_implementation(own_attention(model))
        run_alone(model)
