"""Frozen weights held in fewer bits."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting


class Quantise(Section):
    """QLoRA (Dettmers et al. 2023): the base model in 4 or 8 bits, an adapter on top."""

    bits: Literal[4, 8, 16] = setting(
        16,
        unit="bits",
        en="Bits per frozen weight; 16 means not quantised.",
        zh="每个冻结权重的比特数;16 表示不量化。",
        up=("Quality or speed before memory.", "质量或速度优先时调大。"),
        down=("The base model does not fit.", "基座模型放不下时调小。"),
    )
    kind: Literal["nf4", "fp4"] = setting(
        "nf4",
        en="The 4-bit code: normal-float or plain float.",
        zh="4 比特编码:正态浮点或普通浮点。",
        up=("nf4 for trained weights.", "训练好的权重用 nf4。"),
        down=("fp4 only to repeat older runs.", "仅复现旧实验时用 fp4。"),
    )
    double: bool = setting(
        False,
        en="Quantise the scales as well.",
        zh="对缩放系数再次量化。",
        up=("To save another 0.4 bits per weight.", "想每权重再省 0.4 比特时开启。"),
        down=("For a little more speed.", "略求速度时关闭。"),
    )
    compute: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        en="Type the de-quantised weights compute in.",
        zh="反量化后参与计算的精度。",
        up=("fp32 to rule out rounding.", "排查舍入误差时用 fp32。"),
        down=("bf16 for speed; auto follows precision.compute.", "求速度用 bf16;auto 跟随 precision.compute。"),
    )
    storage: Literal["uint8", "bf16", "fp16", "fp32"] = setting(
        "uint8",
        en="Type the packed bits are stored as; sharding engines need a float one.",
        zh="量化数据的存储类型;分片引擎(FSDP、ZeRO-3)要求浮点类型。",
        up=("bf16 under FSDP and ZeRO-3.", "FSDP、ZeRO-3 下用 bf16。"),
        down=("uint8 on one device.", "单卡用 uint8。"),
    )
