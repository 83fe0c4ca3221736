"""Small trained additions to frozen weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.recipe.field import Section, setting


class Adapter(Section):
    """Which adapter trains, and where it sits."""

    kind: Literal["none", "lora", "ia3", "prefix", "prompt"] = setting(
        "none",
        en="none trains the model's own weights; lora trains low-rank updates (Hu et al. 2021); "
        "prefix is P-Tuning v2 (Liu et al. 2021).",
        zh="none 训练模型自身权重;lora 训练低秩增量(Hu 等,2021);prefix 即 P-Tuning v2(Liu 等,2021)。",
        up=("An adapter when memory is short or many variants are kept.", "显存不足或要保存多个变体时用适配器。"),
        down=("none for large shifts, such as a new language.", "变化很大(如学新语言)时用 none。"),
    )
    rank: int = setting(
        16,
        gt=0,
        unit="dimensions",
        en="Rank of the LoRA update.",
        zh="LoRA 更新矩阵的秩。",
        up=(
            "Training loss stays high: the task is far from pretraining.",
            "训练损失居高不下、任务与预训练差异大时调大。",
        ),
        down=("It overfits, or optimiser memory is short.", "过拟合或优化器显存不足时调小。"),
    )
    alpha: float = setting(
        32.0,
        gt=0,
        en="LoRA scale: the update counts alpha / rank.",
        zh="LoRA 缩放:更新量乘以 alpha / rank。",
        up=("The adapter learns too slowly.", "适配器学得太慢时调大。"),
        down=("Training is unstable.", "训练不稳定时调小。"),
    )
    dropout: float = setting(
        0.0,
        ge=0,
        lt=1,
        unit="share",
        en="Share of the adapter's inputs that are dropped in training.",
        zh="训练时适配器输入被随机置零的比例。",
        up=("Little data, many epochs.", "数据少、轮数多时调大。"),
        down=("One epoch over much data; 0 is also faster.", "大数据单轮训练时取 0,也更快。"),
    )
    targets: tuple[str, ...] | str = setting(
        "all-linear",
        en="Layers that get the adapter: all-linear (all but the output layer), names, or one regular expression.",
        zh="加适配器的层:all-linear(除输出层外的所有线性层)、名称列表或一个正则表达式。",
        up=("More layers when quality lacks.", "质量不足时增加层。"),
        down=("Attention only, to save memory.", "省显存时只选注意力层。"),
    )
    modules_to_save: tuple[str, ...] = setting(
        (),
        en="Modules trained and saved in full beside the adapter.",
        zh="与适配器一起全量训练并保存的模块。",
        up=("New tokens were added: embed_tokens and lm_head.", "新增词元时填 embed_tokens、lm_head。"),
        down=("Each costs as much as full fine-tuning of it.", "每个都按全参训练计开销。"),
    )
    rank_pattern: dict[str, Annotated[int, Field(gt=0)]] = setting(
        dict,
        en="Other ranks for layers whose name matches.",
        zh="按层名匹配单独设置秩。",
        up=("Some layers need more.", "个别层需要更大秩时设置。"),
        down=("Leave it empty for one rank.", "统一秩时留空。"),
    )
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = setting(
        dict,
        en="Other alphas for layers whose name matches.",
        zh="按层名匹配单独设置 alpha。",
        up=("Together with rank_pattern.", "与 rank_pattern 配合使用。"),
        down=("Leave it empty for one alpha.", "统一 alpha 时留空。"),
    )
    dora: bool = setting(
        False,
        en="Learn magnitude and direction apart (DoRA, Liu et al. 2024).",
        zh="分别学习幅度与方向(DoRA,Liu 等,2024)。",
        up=("Low ranks that fall short of full fine-tuning.", "低秩效果不及全参时开启。"),
        down=("It is slower and holds more activations.", "更慢且占更多激活显存。"),
    )
    rslora: bool = setting(
        False,
        en="Scale by alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023).",
        zh="按 alpha / sqrt(rank) 缩放(rsLoRA)。",
        up=("Ranks of 64 and more.", "秩达到 64 及以上时开启。"),
        down=("To repeat recipes tuned without it.", "复现未使用它的配方时关闭。"),
    )
    init: Literal["default", "gaussian", "pissa", "olora", "loftq", "orthogonal"] = setting(
        "default",
        en="How the adapter starts; pissa, olora and loftq change the frozen weights too.",
        zh="适配器的初始化方式;pissa、olora、loftq 也会改动冻结权重。",
        up=("pissa to learn faster, loftq under 4 bits.", "想更快收敛用 pissa,4 比特量化用 loftq。"),
        down=("default is exact at the start.", "default 起始时与原模型完全一致。"),
    )
    bias: Literal["none", "all", "lora_only"] = setting(
        "none",
        en="Which biases train as well.",
        zh="哪些偏置一并训练。",
        up=("all for the last bit of quality.", "追求极致质量时用 all。"),
        down=("none can be merged and unmerged exactly.", "none 可精确合并与还原。"),
    )
    fan_in_fan_out: bool = setting(
        False,
        en="The target layers store their weights transposed (GPT-2's Conv1D).",
        zh="目标层权重按转置存放(GPT-2 的 Conv1D)。",
        up=("GPT-2 and its kin.", "GPT-2 类模型开启。"),
        down=("Everything else.", "其他模型关闭。"),
    )
    virtual_tokens: int = setting(
        20,
        gt=0,
        unit="tokens",
        en="Length of a trained prefix or prompt.",
        zh="可训练前缀或提示的长度。",
        up=("Harder tasks: 100 and more.", "任务较难时可到 100 以上。"),
        down=("It takes its length from the context.", "它会占用上下文长度。"),
    )
    continue_from: str | None = setting(
        None,
        en="A trained adapter to go on from.",
        zh="从已有适配器继续训练。",
        up=("To train an adapter further.", "继续训练已有适配器时设置。"),
        down=("Leave it out to start a new one.", "新建适配器时留空。"),
    )
