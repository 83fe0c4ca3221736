"""The types of floating-point numbers: by their names in recipes, of products, and whether bf16 is fast here."""

from __future__ import annotations

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def compute_type(given: torch.Tensor) -> torch.dtype:
    """The type that products of a tensor run in: autocast's where it is on, else the tensor's own."""
    device = given.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else given.dtype


def has_bf16(device: str = "cpu") -> bool:
    """Whether the processor (``cpu``), or this machine's GPU (``cuda``), has instructions for products in bf16."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
