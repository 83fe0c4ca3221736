"""The dropout that a model's config asks for, switched off."""

from __future__ import annotations

import torch


def without_dropout(model: torch.nn.Module) -> None:
    """Switch off every dropout of a model, that of whole layers too: its modules, and the rates that other modules keep
    as numbers. Its config says what it said."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
