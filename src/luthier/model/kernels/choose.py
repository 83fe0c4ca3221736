"""Which kernels a run uses and why, from plain facts: the plan says it before torch is loaded, the run does it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from luthier.environment import AMD, INTEL
from luthier.model.kernels.architectures import OWN_ATTENTION, SOFT_CAPPED, WITH_SINKS, WITH_STATE
from luthier.recipe import Recipe

QKV, MLP = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
"""Layers that are given the same input, and can be one matrix product."""

JOINED = {"query_key_value": QKV, "qkv_proj": QKV, "gate_up_proj": MLP}
"""Layers that are one product already, in models that are stored so."""

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

PACKAGES = ("flash_attn", "liger_kernel", "triton")

ORDER = {
    "cpu": ("blocks", "sdpa", "eager", "alone"),
    "cuda": ("flash", "varlen", "flex", "sdpa", "eager", "alone"),
}
"""Attention kernels of a device, the fastest first."""

TOLD = {
    "sdpa": "each document by itself through PyTorch's scaled dot product",
    "blocks": "all documents in blocks of matrix products",
    "eager": "each document by itself in single operations, with its whole matrix of scores",
    "varlen": "all documents in one call of PyTorch's kernel for varied lengths",
    "flash": "all documents in one call of flash-attn",
    "flex": "all documents under one block mask, compiled",
    "alone": "each document as a row of its own through the model's own layers",
}


@dataclass(frozen=True, slots=True)
class Here:
    """What a choice rests on; ``head``, ``architecture`` and ``layers`` are empty where the model is not known yet.

    ``layers`` holds the last parts of the layers' names; ``capability`` is a GPU's, None where torch has not been
    asked: it is then taken to be Ampere's or later. ``closed``: its class lets no other attention in, or carries a
    state; ``dropout`` is that of attention's weights; ``vendor`` is the processor's.
    """

    device: str
    compute: str
    head: int = 0
    architecture: str = ""
    layers: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    capability: tuple[int, int] | None = None
    closed: bool = False
    dropout: float = 0.0
    vendor: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is used, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def installed_here() -> frozenset[str]:
    """The optional packages with kernels that are installed, told without loading them."""
    return frozenset(name for name in PACKAGES if importlib.util.find_spec(name) is not None)


def leaves(names: Iterable[str]) -> frozenset[str]:
    """The last parts of layers' names, from those of their weights.

    >>> sorted(leaves(["model.layers.0.mlp.up_proj.weight", "model.norm.weight"]))
    ['norm', 'up_proj']
    """
    return frozenset(name.removesuffix(".weight").rpartition(".")[2] for name in names if name.endswith(".weight"))


def choose_attention(wanted: str, here: Here, adapter: str = "none") -> Choice:
    """The attention kernel: the one that is wanted where it can be had, else the first of the device that can.

    >>> choose_attention("auto", Here("cuda", "bf16", head=128)).name
    'varlen'
    """
    lacking = lacks(wanted, here, adapter) if wanted != "auto" else ""
    if wanted != "auto" and not lacking:
        return Choice(wanted, TOLD[wanted])
    order = ORDER[here.device]
    name = next(one for one in order if not lacks(one, here, adapter))
    faster = next((f"{one} {lacks(one, here, adapter)}" for one in order[: order.index(name)]), "")
    said = f"{wanted} {lacking}" if lacking else faster
    return Choice(name, f"{TOLD[name]}; {said}" if said else TOLD[name])


def lacks(kernel: str, here: Here, adapter: str = "none") -> str:
    """Why an attention kernel cannot be used here; empty where it can."""
    on_cuda, flash = here.device == "cuda", kernel in ("varlen", "flash")
    old = here.capability is not None and here.capability < (8, 0)
    wide = here.head > 256 or here.head % 8 > 0
    capped, sinks = here.architecture in SOFT_CAPPED, here.architecture in WITH_SINKS
    other = kernel != "alone"
    rules = (
        (other and here.architecture in WITH_STATE, "does not end the state that this model carries over documents"),
        (other and (here.closed or here.architecture in OWN_ATTENTION), "does not fit into this model's own attention"),
        (flash and not on_cuda, "runs on CUDA only"),
        (kernel == "blocks" and on_cuda, "is for CPUs"),
        (kernel == "flex" and not on_cuda, "has no backward pass on a CPU"),
        (kernel == "flash" and "flash_attn" not in here.packages, "needs flash_attn, which is not installed"),
        (kernel == "flex" and "triton" not in here.packages, "needs triton, which is not installed"),
        (flash and here.compute == "fp32", "computes in bf16 and fp16 only"),
        (flash and old, "needs an Ampere GPU or a later one"),
        (flash and wide, f"has no kernel for heads of {here.head} features"),
        (kernel in ("sdpa", "blocks", "varlen") and capped, "has no soft cap on scores"),
        (kernel in ("sdpa", "blocks", "varlen", "flash", "flex") and sinks, "has no attention sinks"),
        (kernel in ("varlen", "flex") and here.dropout > 0, "has no dropout of attention's weights"),
        (
            kernel in ("blocks", "varlen", "flash", "flex") and adapter == "prefix",
            "takes no prefix before each document",
        ),
    )
    return next((reason for applies, reason in rules if applies), "")


def choose(recipe: Recipe, here: Here) -> dict[str, Choice]:
    """Every kernel of a run by the name of its switch: what ``auto`` comes to, and what ``on`` cannot be."""
    kernels, lacking = recipe.runtime.kernels, lacking_switches(recipe, here)
    slower = "no faster on a CPU" if here.device == "cpu" else "not measured on a GPU"
    plain = "" if here.device == "cpu" else "; plain PyTorch, not measured on a GPU"
    fused = "the compiler fuses it" if recipe.runtime.compile else ""
    best = "" if here.vendor == AMD else "MKL's are as fast on this processor"
    switches = (
        ("cross_entropy", kernels.cross_entropy, "in the output layer's place, chunk by chunk", ""),
        ("rms_norm", kernels.rms_norm, "one function, which keeps its input alone", ""),
        ("rotary", kernels.rotary, f"one function, which keeps the angles alone{plain}", ""),
        ("lora", kernels.lora, f"one function a layer, in the compute type{plain}", ""),
        ("fuse_qkv", kernels.fuse_qkv, "one matrix product in place of three", slower),
        ("fuse_mlp", kernels.fuse_mlp, "one matrix product in place of two", slower),
        ("liger", kernels.liger, "Liger's norm and gate", fused),
        ("onednn", kernels.onednn, "products of linear layers that do not widen, nor weights' gradients", best),
    )
    found = {"attention": choose_attention(recipe.model.attention, here, recipe.adapter.kind)}
    for name, wanted, told, unused in switches:
        why = "switched off" if wanted == "off" else lacking[name] or (unused if wanted == "auto" else "")
        found[name] = Choice("off", why) if why else Choice("on", told)
    if found["liger"].name == "on" and kernels.rms_norm != "off":
        found["rms_norm"] = Choice("off", "Liger has one")
    if recipe.runtime.compile:
        found["compile"] = Choice("on", f"each layer by itself, through {recipe.runtime.compile_backend or 'inductor'}")
    return found


def lacking_switches(recipe: Recipe, here: Here) -> dict[str, str]:
    """Why each switch cannot be on; empty where it can."""
    return {
        "cross_entropy": _needs_logits(recipe),
        "rms_norm": "the compiler fuses it" if recipe.runtime.compile else "",
        "rotary": "the compiler fuses it" if recipe.runtime.compile else "",
        "lora": _lacks_plain_lora(recipe),
        "fuse_qkv": unjoined(recipe, here, QKV),
        "fuse_mlp": unjoined(recipe, here, MLP),
        "liger": lacks_liger(here),
        "onednn": _lacks_onednn(recipe, here),
    }


def _needs_logits(recipe: Recipe) -> str:
    """Why the loss takes logits as the model makes them; empty where it can do without."""
    adapter = recipe.adapter
    if recipe.method.kind == "reward":
        return "a reward model has no logits"
    if recipe.parallel.engine == "deepspeed" and recipe.parallel.stage == 3:
        return "ZeRO-3 takes the output layer's weight apart again before the backward pass"
    adapted = adapter.kind in ("lora", "ia3") and "lm_head" in (*adapter.modules_to_save, *adapter.targets)
    return "the output layer is adapted" if adapted else ""


def _lacks_plain_lora(recipe: Recipe) -> str:
    """Why LoRA's layers cannot be one function each; empty where they can."""
    rules = (
        (recipe.adapter.kind != "lora", "there is no LoRA"),
        (recipe.adapter.dora, "DoRA computes more"),
        (recipe.quantise.bits < 16, "quantised weights have products of their own"),
        *_needs_whole_layers(recipe),
    )
    return next((reason for applies, reason in rules if applies), "")


def _lacks_onednn(recipe: Recipe, here: Here) -> str:
    """Why linear layers cannot multiply through oneDNN; empty where they can."""
    rules = (
        (here.device != "cpu" or here.vendor not in (AMD, INTEL), "oneDNN's products are for CPUs of x86"),
        (here.compute != "fp32", "PyTorch takes it for 16-bit types as it is"),
        *_needs_whole_layers(recipe),
    )
    return next((reason for applies, reason in rules if applies), "")


def _needs_whole_layers(recipe: Recipe) -> tuple[tuple[bool, str], ...]:
    """What keeps a layer from being a function of its own with the whole weight."""
    sharded = recipe.parallel.stage == 3 or recipe.parallel.deepspeed is not None
    return (
        (recipe.runtime.compile, "the compiler sees the layers one by one"),
        (sharded, "sharded weights are gathered layer by layer"),
    )


def unjoined(recipe: Recipe, here: Here, layers: tuple[str, ...]) -> str:
    """Why layers cannot be joined to one matrix product; empty where they can."""
    already = [name for name in here.layers if JOINED.get(name) == layers]
    if already:
        return f"{already[0]} is one product already"
    if here.layers and not set(layers) <= here.layers:
        return f"the model has no {', '.join(layers)}"
    if recipe.quantise.bits < 16:
        return "quantised weights are not joined"
    if recipe.adapter.kind in ("lora", "ia3"):
        return "the adapter sits on single layers"
    return "the compiler sees the layers one by one" if recipe.runtime.compile else ""


def lacks_liger(here: Here) -> str:
    """Why Liger's kernels cannot be used; empty where they can."""
    if here.device != "cuda":
        return "Liger's kernels run on CUDA only"
    return "" if "liger_kernel" in here.packages else "liger_kernel is not installed (pip install liger-kernel)"


def lacks_compiler(device: str, packages: frozenset[str], backend: str | None, cxx: str) -> str:
    """Why torch.compile cannot run: its default back end writes C++ on a CPU and Triton on a GPU, and builds it."""
    if backend not in (None, "inductor"):
        return ""
    if device == "cuda" and "triton" not in packages:
        return "needs triton, which is not installed"
    return "" if shutil.which(cxx) else f"needs a C++ compiler, and there is no {cxx}"
