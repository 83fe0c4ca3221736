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
    )
    tf32: bool | None = setting(
        None,
        en="Let fp32 products use TF32 on NVIDIA GPUs.",
        zh="允许 NVIDIA GPU 的 fp32 运算使用 TF32。",
        up=("fp32 runs on Ampere and later.", "Ampere 及更新的 GPU 上跑 fp32 时开启。"),
        down=("Exactness counts.", "要求精确时关闭。"),
    )
    full_evaluation: bool = setting(
        False,
        en="Evaluate with the weights themselves in the compute type.",
        zh="评估时权重也转为计算精度。",
        up=("Evaluation must fit beside training.", "评估显存不足时开启。"),
        down=("Figures should match training's.", "希望数值与训练一致时关闭。"),
    )
