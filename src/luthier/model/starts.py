"""How a LoRA adapter starts where that touches the frozen weights, and how it is saved all the same.

PiSSA (Meng et al. 2024) and OLoRA (Büyükakyüz 2024) take the start s B0 A0 out of the weights W that they adapt. A
trained adapter is therefore saved as [B, -B0] [A; A0] of twice the rank, whose product on the untouched W is the same.
"""

from __future__ import annotations

import json
import re
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from luthier.errors import ModelError
from luthier.model.adapter_files import SETTINGS
from luthier.model.chatglm import is_chatglm
from luthier.model.chatglm_weights import as_glm
from luthier.model.layer_names import EXPERTS, NO_EXPERTS
from luthier.model.quantise import dequantised, is_quantised
from luthier.model.weights import Weights

START: dict[str, Any] = {
    "default": True,
    "gaussian": "gaussian",
    "pissa": "pissa",
    "olora": True,
    "orthogonal": "orthogonal",
    "loftq": True,
}
"""Our name -> PEFT's; the starts of OLoRA and LoftQ are put in afterwards."""

WEIGHTS = "adapter_model.safetensors"


def _layers(model: torch.nn.Module) -> dict[str, Any]:
    """The adapted linear layers by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and "default" in module.lora_A
    }


def start_from_factors(model: torch.nn.Module) -> None:
    """Start an adapter as OLoRA: B0 A0 = Q_r R_r of each weight [out, in] = Q R, and s B0 A0 is taken out of it.

    PEFT's own does not know layers that hold [in, out].

    Raises:
        ModelError: the adapter sits on experts in one tensor, which are no matrix.
    """
    for layer in _layers(model).values():
        if isinstance(layer, ParamWrapper):
            raise ModelError(EXPERTS.format("olora"), place="adapter.init", remedy=NO_EXPERTS)
        base, turned = layer.get_base_layer(), bool(layer.fan_in_fan_out)
        whole = base.weight.detach().float()
        q, r = torch.linalg.qr(whole.T if turned else whole)
        rank = layer.r["default"]
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        with torch.no_grad():
            a.zero_()[: len(r)] = r[:rank]
            b.zero_()[:, : len(r)] = q[:, :rank]
            taken = layer.scaling["default"] * (b.float() @ a.float())
            base.weight.data = (whole - (taken.T if turned else taken)).to(base.weight.dtype)


def keep_start(model: torch.nn.Module) -> None:
    """Remember where an adapter starts, on its layers."""
    for layer in _layers(model).values():
        pair = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
        layer.start = tuple(half.detach().float().cpu().clone() for half in pair)


def write_relative(model: torch.nn.Module, directory: Path) -> None:
    """Rewrite a saved adapter so that it fits the weights as they were; nothing where it does so already."""
    starts = {name: layer.start for name, layer in _layers(model).items() if hasattr(layer, "start")}
    if not starts:
        return
    path = directory / WEIGHTS
    tensors = load_file(path)
    for name, (first, second) in starts.items():
        a, b = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
        tensors[a] = torch.cat([tensors[a], first.to(tensors[a].dtype)], dim=0)
        tensors[b] = torch.cat([tensors[b], -second.to(tensors[b].dtype)], dim=1)
    save_file(tensors, path, metadata={"format": "pt"})
    settings = json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
    # The scale alpha / rank (rsLoRA: alpha / sqrt(rank)) has to stay as it was.
    more = sqrt(2) if settings["use_rslora"] else 2
    settings |= {"r": 2 * settings["r"], "lora_alpha": more * settings["lora_alpha"], "init_lora_weights": True}
    settings["rank_pattern"] = {key: 2 * rank for key, rank in settings["rank_pattern"].items()}
    settings["alpha_pattern"] = {key: more * alpha for key, alpha in settings["alpha_pattern"].items()}
    # An embedding begins as nothing, and keeps its rank. PEFT takes the first pattern that fits, in the order of their
    # characters, in which few come before a bracket.
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer) and "default" in layer.lora_embedding_A:
            own = f"(?:{re.escape(name.removeprefix('base_model.model.'))})"
            settings["rank_pattern"] |= {own: layer.r["default"]}
            settings["alpha_pattern"] |= {own: layer.lora_alpha["default"]}
    (directory / SETTINGS).write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")


def start_from_quantisation(model: torch.nn.Module, directory: Path) -> None:
    """Start an adapter on quantised weights from the best approximation of what was lost (LoftQ, Li et al. 2023).

    One round of it: the bits stay those of plain quantisation, so that the adapter fits them wherever they are made.

    Raises:
        ModelError: the directory lacks the weights before quantisation under the layers' own names.
    """
    weights = as_glm(directory)["state_dict"] if is_chatglm(directory) else Weights(directory)
    for name, layer in _layers(model).items():
        base = layer.get_base_layer()
        if isinstance(layer, ParamWrapper) or not is_quantised(base.weight):
            continue
        full = f"{name.removeprefix('base_model.model.')}.weight"
        # Files on the hub may leave out the model's first name.
        original = next((one for one in (full, full.partition(".")[2]) if one in weights), None)
        if original is None:
            raise ModelError(f"holds no weight {full}", place=str(directory), remedy="set adapter.init: default")
        whole = weights[original].float().to(base.weight.device)
        # transformers turns GPT-2's weights when it quantises them.
        lost = (whole.T if issubclass(base.source_cls, Conv1D) else whole) - dequantised(base)
        left, size, right = torch.linalg.svd(lost, full_matrices=False)
        rank = min(layer.r["default"], len(size))
        root = (size[:rank] / layer.scaling["default"]).sqrt()
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        with torch.no_grad():
            layer.started_from_quantisation = True
            a.zero_()[:rank] = root[:, None] * right[:rank]
            b.zero_()[:, :rank] = left[:, :rank] * root


def starts_from_quantisation(model: torch.nn.Module) -> bool:
    """Whether an adapter began as what quantisation lost, so that it fits only the quantised weights."""
    return any(getattr(layer, "started_from_quantisation", False) for layer in _layers(model).values())
