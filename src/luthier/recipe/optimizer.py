"""How gradients become updates."""

from __future__ import annotations

from pydantic import JsonValue

from luthier.recipe.field import Section, setting


class Optimizer(Section):
    """The optimiser and its constants. Weight decay is decoupled and spares biases and norms."""

    kind: str = setting(
        "adamw",
        en="The optimiser: adamw (Loshchilov & Hutter 2019), sgd, or module:attribute.",
        zh="优化器:adamw、sgd,或 module:attribute。",
        up=("Name another to repeat a recipe.", "复现配方时指定。"),
        down=("adamw is a safe start.", "adamw 是稳妥的起点。"),
    )
    lr: float = setting(
        2e-4,
        gt=0,
        en="Peak learning rate.",
        zh="峰值学习率。",
        up=("The loss falls slowly; adapters take 1e-4 to 1e-3.", "损失下降慢时调大;适配器常用 1e-4 到 1e-3。"),
        down=("The loss jumps; full fine-tuning takes 1e-6 to 5e-5.", "损失震荡时调小;全参微调常用 1e-6 到 5e-5。"),
    )
    beta1: float = setting(
        0.9,
        ge=0,
        lt=1,
        en="Decay of the running mean of gradients.",
        zh="梯度一阶动量的衰减率。",
        up=("Gradients are noisy.", "梯度噪声大时调大。"),
        down=("It reacts too slowly.", "反应迟钝时调小。"),
    )
    beta2: float = setting(
        0.999,
        ge=0,
        lt=1,
        en="Decay of the running mean of squared gradients.",
        zh="梯度二阶动量的衰减率。",
        up=("Small batches.", "小批量时调大。"),
        down=("Large batches and long pretraining: 0.95.", "大批量长预训练取 0.95。"),
    )
    epsilon: float = setting(
        1e-8,
        gt=0,
        en="Added to the denominator.",
        zh="分母中的平滑项。",
        up=("Updates explode where gradients vanish.", "梯度极小处更新爆炸时调大。"),
        down=("Rarely.", "很少需要。"),
    )
    weight_decay: float = setting(
        0.0,
        ge=0,
        en="Share of each weight (times lr) taken away per step; decoupled, not an L2 term in the loss.",
        zh="每步按 lr 比例缩减权重;为解耦衰减,并非损失中的 L2 项。",
        up=("Many epochs, large models from scratch: 0.1.", "从零训练或多轮训练取 0.1。"),
        down=("Adapters and short runs: 0.", "适配器与短训练取 0。"),
    )
    clip: float | None = setting(
        1.0,
        gt=0,
        en="Largest norm of the gradient; unset means no clipping.",
        zh="梯度范数上限;不设则不裁剪。",
        up=("Every step is clipped.", "每步都被裁剪时调大。"),
        down=("The loss has spikes.", "损失出现尖峰时调小。"),
    )
    embedding_lr: float | None = setting(
        None,
        gt=0,
        en="Another learning rate for the embeddings.",
        zh="嵌入层的单独学习率。",
        up=("New tokens have to be learned fast.", "新增词元需快速学习时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    lora_plus: float | None = setting(
        None,
        gt=0,
        en="Ratio of the learning rates of LoRA's B and A (LoRA+, Hayou et al. 2024).",
        zh="LoRA 中 B 与 A 的学习率之比(LoRA+)。",
        up=("Wide models: 16.", "宽模型可取 16。"),
        down=("Leave it out for plain LoRA.", "普通 LoRA 留空。"),
    )
    args: dict[str, JsonValue] = setting(
        dict,
        en="Further constants of the optimiser, by its own names.",
        zh="优化器的其他参数(按其自身名称)。",
        up=("The optimiser has constants of its own.", "优化器有专属参数时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
