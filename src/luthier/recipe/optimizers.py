"""What is known of each optimiser by its name, without loading it: its package, its state, what stands in for it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

BETAS = ("optimizer.beta1", "optimizer.beta2")
EPSILON = ("optimizer.epsilon",)


@dataclass(frozen=True, slots=True)
class Facts:
    """``state`` is bytes per trained fp32 parameter; ``package`` is what Python imports and ``install`` what pip
    installs; ``equal`` makes the same steps with its state stored otherwise; ``unused`` are constants it has not."""

    state: float
    package: str = ""
    install: str = ""
    equal: str = ""
    unused: tuple[str, ...] = ()


_ROUNDED = 2 * (1 + 4 / 256)
"""Two states of one byte, with a scale of four bytes for each block of 256."""


def _bits_and_bytes(state: float, equal: str = "", unused: tuple[str, ...] = ()) -> Facts:
    return Facts(state, "bitsandbytes", "bitsandbytes", equal, unused)


_RMSPROP = (*BETAS, *EPSILON)
_LION = EPSILON

OPTIMIZERS: dict[str, Facts] = {
    "adamw": Facts(8),
    "sgd": Facts(0, unused=_RMSPROP),
    "adagrad": Facts(4, unused=_RMSPROP),
    "rmsprop": Facts(4, unused=_RMSPROP),
    "adafactor": Facts(0.1, unused=_RMSPROP),
    "muon": Facts(4),
    "adamw_bnb_8bit": _bits_and_bytes(_ROUNDED, "adamw"),
    "adamw_8bit": _bits_and_bytes(_ROUNDED, "adamw"),
    "paged_adamw_8bit": _bits_and_bytes(_ROUNDED, "adamw"),
    "paged_adamw_32bit": _bits_and_bytes(8, "adamw"),
    "ademamix": _bits_and_bytes(12),
    "ademamix_8bit": _bits_and_bytes(_ROUNDED * 1.5),
    "paged_ademamix_32bit": _bits_and_bytes(12),
    "paged_ademamix_8bit": _bits_and_bytes(_ROUNDED * 1.5),
    "lion_32bit": _bits_and_bytes(4, unused=_LION),
    "lion_8bit": _bits_and_bytes(_ROUNDED / 2, unused=_LION),
    "paged_lion_32bit": _bits_and_bytes(4, unused=_LION),
    "paged_lion_8bit": _bits_and_bytes(_ROUNDED / 2, unused=_LION),
    "rmsprop_bnb": _bits_and_bytes(4, unused=_RMSPROP),
    "rmsprop_bnb_8bit": _bits_and_bytes(_ROUNDED / 2, unused=_RMSPROP),
    "rmsprop_bnb_32bit": _bits_and_bytes(4, unused=_RMSPROP),
    "lamb": _bits_and_bytes(8),
    "lars": _bits_and_bytes(4, unused=_RMSPROP),
    "adamw_torch_8bit": Facts(_ROUNDED, "torchao", "torchao", "adamw"),
    "adamw_torch_4bit": Facts(_ROUNDED - 1, "torchao", "torchao", "adamw"),
    "ao_adamw_8bit": Facts(_ROUNDED, "torchao", "torchao", "adamw"),
    "ao_adamw_4bit": Facts(_ROUNDED - 1, "torchao", "torchao", "adamw"),
    "ao_adamw_fp8": Facts(_ROUNDED, "torchao", "torchao", "adamw"),
    "adopt_adamw": Facts(8, "pytorch_optimizer", "pytorch-optimizer"),
    "came_pytorch": Facts(4, "came_pytorch", "came-pytorch", unused=EPSILON),
    "galore_adamw": Facts(8, "galore_torch", "galore-torch"),
    "galore_adafactor": Facts(0.1, "galore_torch", "galore-torch", unused=_RMSPROP),
    "apollo_adamw": Facts(8, "apollo_torch", "apollo-torch"),
    "grokadamw": Facts(12, "grokadamw", "grokadamw"),
    "schedule_free_adamw": Facts(8, "schedulefree", "schedulefree"),
    "schedule_free_radam": Facts(8, "schedulefree", "schedulefree"),
    "schedule_free_sgd": Facts(4, "schedulefree", "schedulefree", unused=_RMSPROP),
    "stable_adamw": Facts(8, "optimi", "torch-optimi"),
    "optimi_adamw": Facts(8, "optimi", "torch-optimi", "adamw"),
    "lion_pytorch": Facts(4, "lion_pytorch", "lion-pytorch", unused=_LION),
}
"""Every optimiser that runs. States of low rank are given at full rank, which they stay below."""

ALIASES = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adamw_hf"), "adamw"),
    "adamw_bnb": "adamw_bnb_8bit",
    "lion": "lion_32bit",
}
"""Other names of one arithmetic: kernels of AdamW, and what bitsandbytes is called without its bits."""


def by_its_name(kind: str) -> str:
    """An optimiser by the name that it has here.

    >>> by_its_name("adamw_torch_fused"), by_its_name("lion"), by_its_name("sgd")
    ('adamw', 'lion_32bit', 'sgd')
    """
    return ALIASES.get(kind, kind)


STANDS_IN = {
    "galore_adamw_8bit": ("galore_adamw", "its state is kept in full precision, and nothing is rounded"),
    "galore_adamw_layerwise": ("galore_adamw", "all layers are updated after the backward pass, with the same steps"),
    "galore_adamw_8bit_layerwise": (
        "galore_adamw",
        "all layers are updated after the backward pass, and their state is kept in full precision",
    ),
    "galore_adafactor_layerwise": (
        "galore_adafactor",
        "all layers are updated after the backward pass, with the same steps",
    ),
    "lomo": (
        "sgd",
        "weights are updated after the backward pass, with the same steps, since a gradient is looked at before it is "
        "stepped on; gradients are held until then",
    ),
    "adalomo": (
        "adafactor",
        "weights are updated after the backward pass, with the same steps (scale_parameter), since a gradient is looked "
        "at before it is stepped on; gradients are held until then",
    ),
    "apollo_adamw_layerwise": ("apollo_adamw", "all layers are updated after the backward pass, with the same steps"),
}
"""Names that never run themselves: the name that does, and what differs."""

STANDS_IN_WITH: dict[str, dict[str, JsonValue]] = {"adalomo": {"scale_parameter": True}}
"""Constants that what stands in is told."""

NEEDS_TARGETS = ("galore_adamw", "galore_adafactor", "apollo_adamw")
"""They project the gradients of the layers that ``optimizer.args.target_modules`` names."""

SETTINGS = {"lr": ("optimizer.lr",), "weight_decay": ("optimizer.weight_decay",), "betas": BETAS, "eps": EPSILON}
"""Constants by their libraries' names that are settings here, unless an optimiser has no use for those."""

GO_BY_PLACE = ("grokadamw",)
"""The step of a weight goes by its place in its group: groups are the Trainer's, weights in the model's order."""

REFUSED = {
    "adamw_anyprecision": ("adamw_anyprecision needs torchdistx, which is no longer made", "use adamw"),
    "dion": ("Dion needs several processes that share a matrix, and is not there", "use muon"),
    "q_galore_adamw8bit": ("Q-GaLore needs weights quantised to int8 while they train", "use galore_adamw"),
    **{
        name: (f"{name} needs kernels of its own that only some GPUs run, and is not there", f"use {plain}")
        for name, plain in (
            ("flash_adamw", "adamw_torch_8bit"),
            ("flash_adam", "adamw_torch_8bit"),
            ("flash_sgd", "sgd"),
            ("flash_sgdw", "sgd"),
            ("flash_lion", "lion_8bit"),
        )
    },
}
"""Names that files use and nothing here runs: the reason, and what to write instead."""
