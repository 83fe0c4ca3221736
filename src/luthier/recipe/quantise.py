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
        cost=(
            "About 0.5 byte per frozen weight at 4 bits, 1 at 8, 2 at 16; each layer is de-quantised whenever it is used, so steps get slower.",
            "每个冻结权重 4 比特约 0.5 字节、8 比特 1 字节、16 比特 2 字节;每次使用都要反量化,因此更慢。",
        ),
        history=(
            "load_in_4bit and load_in_8bit (Axolotl), --use_4bit_quantization (PEFT's examples/sft, once spelled …_qunatization for 8 bits); Firefly's qlora is always 4 bits, nf4, double.",
            "Axolotl 为 load_in_4bit、load_in_8bit;PEFT 的 examples/sft 为 --use_4bit_quantization(8 比特的旧版曾误拼为 …_qunatization);Firefly 的 qlora 固定为 4 比特、nf4、双重量化。",
        ),
        misread=(
            "Fewer bits save memory, not time. Only the linear layers' frozen weights shrink, not embeddings, activations or the adapter.",
            "量化省的是显存而不是时间;缩小的只有线性层的冻结权重,不含嵌入、激活与适配器。",
        ),
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
        cost=(
            "Saves about 0.4 bits per weight (3 GB at 65 billion), for a little time.",
            "每个权重约省 0.4 比特(650 亿参数约 3 GB),略增耗时。",
        ),
        misread=(
            "The 4-bit weights are not quantised again: their scales are, one per block of 64.",
            "并不是把 4 比特权重再量化一次,而是量化其缩放系数(每 64 个权重一个)。",
        ),
    )
    compute: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        en="Type the de-quantised weights compute in.",
        zh="反量化后参与计算的精度。",
        up=("fp32 to rule out rounding.", "排查舍入误差时用 fp32。"),
        down=("bf16 for speed; auto follows precision.compute.", "求速度用 bf16;auto 跟随 precision.compute。"),
        misread=(
            "The weights compute de-quantised, in this type; nothing is multiplied in 4 bits.",
            "权重先反量化为此类型再参与运算,并不存在 4 比特的乘法。",
        ),
    )
    storage: Literal["uint8", "bf16", "fp16", "fp32"] = setting(
        "uint8",
        en="Type the packed bits are stored as; sharding engines need a float one.",
        zh="量化数据的存储类型;分片引擎(FSDP、ZeRO-3)要求浮点类型。",
        up=("bf16 under FSDP and ZeRO-3.", "FSDP、ZeRO-3 下用 bf16。"),
        down=("uint8 on one device.", "单卡用 uint8。"),
        history=(
            "PEFT's examples/sft loads all other weights in this type too, if it is a float, else in fp32.",
            "PEFT 的 examples/sft 还用此类型(若为浮点)载入其余权重,否则用 fp32。",
        ),
        misread=(
            "It is the type of the container and changes neither size nor accuracy: the same packed bits are viewed as uint8 or as bf16.",
            "它只是容器的类型,不影响大小也不影响精度:同样的打包比特,按 uint8 或 bf16 存放而已。",
        ),
    )
