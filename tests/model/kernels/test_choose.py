"""Which kernels a run uses, from plain facts of devices that need not be here."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.environment import AMD, INTEL
from luthier.model.kernels.choose import Here, choose, choose_attention, lacks, lacks_compiler
from luthier.recipe.validate import build

CPU, CPU32 = Here("cpu", "bf16", 64, "llama"), Here("cpu", "fp32", 64, "llama")
AMD32 = Here("cpu", "fp32", 64, "llama", vendor=AMD)
GPU = Here("cuda", "bf16", 128, "llama", packages=frozenset({"triton"}))
FLASH = Here("cuda", "bf16", 128, "llama", packages=frozenset({"triton", "flash_attn"}))


def changed(here: Here, **changes: Any) -> Here:
    return Here(**{name: changes.get(name, getattr(here, name)) for name in Here.__slots__})


LIGER = changed(GPU, packages=frozenset({"liger_kernel"}))


@pytest.mark.parametrize(
    ("here", "adapter", "name", "why"),
    [
        (CPU, "none", "blocks", "blocks of matrix products"),
        (CPU32, "none", "blocks", "blocks of matrix products"),
        (CPU, "prefix", "sdpa", "blocks takes no prefix"),
        (changed(CPU, architecture="gemma2"), "none", "eager", "no soft cap"),
        (changed(CPU, architecture="gpt_oss"), "none", "eager", "no attention sinks"),
        (FLASH, "none", "flash", "one call of flash-attn"),
        (GPU, "none", "varlen", "flash needs flash_attn, which is not installed"),
        (changed(FLASH, compute="fp32"), "none", "flex", "flash computes in bf16 and fp16 only"),
        (changed(FLASH, capability=(7, 5)), "none", "flex", "needs an Ampere GPU"),
        (changed(FLASH, capability=(8, 0)), "none", "flash", "flash-attn"),
        (changed(FLASH, head=264), "none", "flex", "no kernel for heads of 264"),
        (changed(FLASH, head=36), "none", "flex", "no kernel for heads of 36"),
        (changed(FLASH, architecture="gemma2"), "none", "flash", "flash-attn"),
        (changed(GPU, architecture="gemma2"), "none", "flex", "under one block mask"),
        (changed(FLASH, architecture="gpt_oss"), "none", "eager", "no attention sinks"),
        (FLASH, "prefix", "sdpa", "takes no prefix"),
        (changed(GPU, dropout=0.1), "none", "sdpa", "flash needs flash_attn"),
        (changed(FLASH, dropout=0.1), "none", "flash", "flash-attn"),
        (changed(CPU, dropout=0.1), "none", "blocks", "blocks of matrix products"),
        (changed(FLASH, architecture="bloom"), "none", "alone", "flash does not fit into this model's own attention"),
        (changed(CPU, architecture="mamba"), "none", "alone", "blocks does not end the state"),
        (changed(CPU32, closed=True), "none", "alone", "blocks does not fit"),
        (changed(GPU, compute="fp32", packages=frozenset()), "none", "sdpa", "flash needs flash_attn"),
    ],
)
def test_auto_takes_the_fastest_that_can_and_says_what_a_faster_one_lacks(
    here: Here, adapter: str, name: str, why: str
) -> None:
    choice = choose_attention("auto", here, adapter)
    assert choice.name == name and why in str(choice)
    assert lacks(choice.name, here, adapter) == ""


def test_what_is_named_is_taken_or_its_lack_is_said() -> None:
    assert choose_attention("eager", FLASH).name == "eager"
    assert choose_attention("sdpa", CPU).name == "sdpa"
    assert choose_attention("alone", FLASH).name == "alone"
    assert lacks("varlen", changed(GPU, dropout=0.1)) == lacks("flex", changed(GPU, dropout=0.1)) != ""
    choice = choose_attention("flash", CPU)
    assert choice.name == "blocks" and "flash runs on CUDA only" in choice.why


def switches(here: Here, **sections: Any) -> dict[str, str]:
    base: dict[str, Any] = {"model": {"path": "m"}, "data": {"train": [{"path": "x"}]}}
    return {name: str(one) for name, one in choose(build({**base, **sections}, str), here).items()}


LORA: dict[str, Any] = {"adapter": {"kind": "lora"}}
ON = {"runtime": {"kernels": dict.fromkeys(("rms_norm", "fuse_qkv", "fuse_mlp", "liger"), "on")}}


@pytest.mark.parametrize(
    ("sections", "here", "told"),
    [
        ({}, CPU, {"rms_norm": "on", "fuse_qkv": "off (no faster on a CPU)", "liger": "off (Liger's kernels run on"}),
        ({}, GPU, {"rms_norm": "on", "liger": "off (liger_kernel is not installed"}),
        ({}, LIGER, {"rms_norm": "off (Liger has one)", "liger": "on (Liger's norm and gate)"}),
        ({"runtime": {"compile": True}}, LIGER, {"liger": "off (the compiler fuses it)"}),
        ({"runtime": {"kernels": {"liger": "off"}}}, LIGER, {"rms_norm": "on", "liger": "off (switched off)"}),
        ({}, GPU, {"rms_norm": "on", "fuse_mlp": "off (not measured on a GPU)"}),
        (ON, GPU, {"liger": "off (liger_kernel is not installed"}),
        (ON, CPU, {"rms_norm": "on", "fuse_qkv": "on", "fuse_mlp": "on", "liger": "off (Liger's kernels run on CUDA"}),
        (ON, LIGER, {"liger": "on"}),
        (ON, changed(CPU, layers=frozenset({"q_proj", "k_proj", "v_proj", "gate_up_proj"})), {
            "fuse_qkv": "on", "fuse_mlp": "off (gate_up_proj is one product already)"
        }),
        (ON, changed(CPU, layers=frozenset({"c_attn"})), {"fuse_qkv": "off (the model has no q_proj, k_proj, v_proj)"}),
        ({**ON, "adapter": {"kind": "lora"}}, CPU, {"fuse_qkv": "off (the adapter sits", "fuse_mlp": "off (the"}),
        ({**ON, "adapter": {"kind": "prefix"}}, CPU, {"fuse_qkv": "on"}),
        ({"runtime": {**ON["runtime"], "compile": True}}, CPU, {"rms_norm": "off (the compiler", "compile": "on"}),
        ({"runtime": {"kernels": {"rms_norm": "off"}}}, CPU, {"rms_norm": "off (switched off)"}),
        ({}, CPU, {"rotary": "on", "lora": "off (there is no LoRA)"}),
        (LORA, CPU, {"lora": "on (one function a layer"}),
        (LORA, GPU, {"rotary": "on (one function, which keeps the angles alone; plain PyTorch", "lora": "on (one"}),
        ({**LORA, "runtime": {"kernels": {"lora": "on", "rotary": "on"}}}, GPU, {"rotary": "on", "lora": "on"}),
        ({"adapter": {"kind": "lora", "dora": True}}, CPU, {"lora": "off (DoRA computes more)"}),
        ({**LORA, "quantise": {"bits": 4}}, CPU, {"lora": "off (quantised weights"}),
        ({**LORA, "parallel": {"engine": "deepspeed", "stage": 3}}, CPU, {"lora": "off (sharded weights"}),
        ({"method": {"kind": "dpo"}}, CPU, {"cross_entropy": "on (in the output layer's place, chunk by chunk)"}),
        ({"method": {"kind": "reward"}}, CPU, {"cross_entropy": "off (a reward model has no logits)"}),
        ({"parallel": {"engine": "deepspeed", "stage": 3}}, CPU, {"cross_entropy": "off (ZeRO-3 takes"}),
        ({**LORA, "runtime": {"compile": True}}, CPU, {"rotary": "off (the compiler", "lora": "off (the compiler"}),
        ({}, AMD32, {"onednn": "on (products of linear layers"}),
        ({}, changed(AMD32, vendor=INTEL), {"onednn": "off (MKL's are as fast"}),
        ({"runtime": {"kernels": {"onednn": "on"}}}, changed(AMD32, vendor=INTEL), {"onednn": "on (products"}),
        ({"runtime": {"kernels": {"onednn": "on"}}}, CPU32, {"onednn": "off (oneDNN's products are for CPUs of x86)"}),
        ({}, changed(AMD32, compute="bf16"), {"onednn": "off (PyTorch takes it for 16-bit types"}),
        ({}, changed(AMD32, device="cuda"), {"onednn": "off (oneDNN's products are for CPUs of x86)"}),
        ({"runtime": {"compile": True}}, AMD32, {"onednn": "off (the compiler sees"}),
        ({"parallel": {"engine": "fsdp", "stage": 3}}, AMD32, {"onednn": "off (sharded weights"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.device,
)  # fmt: skip
def test_each_switch_comes_to_on_or_to_a_reason(sections: dict[str, Any], here: Here, told: dict[str, str]) -> None:
    found = switches(here, **sections)
    assert {name: found[name][: len(start)] for name, start in told.items()} == told


def test_a_compiler_is_looked_for_where_one_is_needed() -> None:
    assert lacks_compiler("cpu", frozenset(), None, "sh") == ""
    assert "there is no c++-of-nobody" in lacks_compiler("cpu", frozenset(), "inductor", "c++-of-nobody")
    assert lacks_compiler("cpu", frozenset(), "aot_eager", "c++-of-nobody") == ""
    assert "triton" in lacks_compiler("cuda", frozenset(), None, "sh")
