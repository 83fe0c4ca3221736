"""The number types the run computes in."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting


class Precision(Section):
    """Weights stay in model.dtype; this is what matrix products use."""

    compute: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        en="Autocast type; auto is bf16 where the device is fast in it, else fp32. fp16 on a CPU is replaced.",
        zh="自动混合精度类型;auto 在设备支持时用 bf16,否则 fp32。CPU 上的 fp16 会被替换。",
        up=("fp32 to compare runs digit by digit.", "逐位对比时用 fp32。"),
        down=("bf16 for two to three times the speed.", "bf16 可快两到三倍。"),
        cost=(
            "bf16 and fp16 halve the activations and are two to three times as fast; fp16 on a CPU is hundreds of times slower.",
            "bf16、fp16 使激活减半,速度为两到三倍;CPU 上的 fp16 慢数百倍。",
        ),
        history=(
            "fp16 (2018) has 5 exponent bits, overflows above 65,504 and needs loss scaling; bf16 has fp32's range and fewer digits, and has taken over since Ampere. Axolotl's bf16: auto falls back to fp16.",
            "fp16(2018)有 5 位指数,超过 65,504 即溢出,需要损失缩放;bf16 的范围与 fp32 相同、有效位更少,自 Ampere 起成为主流。Axolotl 的 bf16: auto 退回 fp16。",
        ),
        misread=(
            "It is the type of the products; the weights that train stay in model.dtype.",
            "它是运算的精度;参训权重仍按 model.dtype 存放。",
        ),
    )
    tf32: bool | None = setting(
        None,
        en="Let fp32 products use TF32 on NVIDIA GPUs.",
        zh="允许 NVIDIA GPU 的 fp32 运算使用 TF32。",
        up=("fp32 runs on Ampere and later.", "Ampere 及更新的 GPU 上跑 fp32 时开启。"),
        down=("Exactness counts.", "要求精确时关闭。"),
        cost=(
            "fp32 products several times faster, with 10 bits after the point instead of 23.",
            "fp32 运算快数倍,尾数由 23 位降为 10 位。",
        ),
        misread=(
            "Not a type that anything is held in: numbers stay 32 bits long and lose digits only on their way into a product.",
            "它不是存储类型:数仍占 32 位,只在进入乘法时损失位数。",
        ),
    )
    full_evaluation: bool = setting(
        False,
        en="Evaluate with the weights themselves in the compute type.",
        zh="评估时权重也转为计算精度。",
        up=("To measure what a 16-bit result will do, and faster.", "想按 16 位成品的表现评估并提速时开启。"),
        down=("Figures should match training's.", "希望数值与训练一致时关闭。"),
        cost=(
            "Half as many bytes again for the weights while evaluating: the full ones are kept beside.",
            "评估时权重内存再多一半:原权重仍保留在旁。",
        ),
    )
    most_skipped: int = setting(
        5,
        gt=0,
        unit="steps",
        en="Steps in a row that may be skipped because the loss or its gradient is not finite; then the run stops.",
        zh="因损失或梯度非有限而跳过的最多连续步数,达到即停止训练。",
        up=("Bad rows come in clusters and the rest should still train.", "坏样本扎堆而其余数据仍要训练时调大。"),
        down=("1 stops at the first of them.", "取 1 则首次出现即停止。"),
        history=(
            "The Trainer steps on: with logging_nan_inf_filter it even shows the mean of the losses before.",
            "Trainer 会照常更新;开启 logging_nan_inf_filter 时甚至显示此前损失的平均值。",
        ),
        misread=(
            "Steps skipped while fp16's loss scale is found do not count: they are its way of working.",
            "fp16 寻找损失缩放系数时跳过的步不计入:那是其正常工作方式。",
        ),
    )
