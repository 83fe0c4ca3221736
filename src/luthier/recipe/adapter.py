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
        "ia3 scales features (Liu et al. 2022); prefix is P-Tuning v2 (Liu et al. 2021), prompt trains embeddings before the text (Lester et al. 2021).",
        zh="none 训练模型自身权重;lora 训练低秩增量(Hu 等,2021);ia3 训练特征缩放(Liu 等,2022);prefix 即 P-Tuning v2(Liu 等,2021);prompt 训练置于文本之前的嵌入(Lester 等,2021)。",
        up=("An adapter when memory is short or many variants are kept.", "显存不足或要保存多个变体时用适配器。"),
        down=("none for large shifts, such as a new language.", "变化很大(如学新语言)时用 none。"),
        cost=(
            "A frozen weight needs neither gradient nor optimiser state: LoRA trains about 1 % of the parameters, and the rest cost only their own bytes.",
            "冻结权重没有梯度与优化器状态:LoRA 只训练约 1% 的参数,其余仅占自身字节。",
        ),
        history=(
            "Firefly without train_mode means qlora; in Axolotl adapter: qlora is lora on a base in 4 bits; ChatGLM3's PREFIX_TUNING is P-Tuning v2.",
            "Firefly 不写 train_mode 即为 qlora;Axolotl 的 adapter: qlora 即 4 比特基座上的 lora;ChatGLM3 的 PREFIX_TUNING 即 P-Tuning v2。",
        ),
        misread=(
            "Full fine-tuning and SFT are answers to two questions: which weights train, and what they learn. LoRA runs are SFT too.",
            "“全参微调”与“SFT”回答的是两个问题:训练哪些权重、学习什么。LoRA 训练同样可以是 SFT。",
        ),
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
        cost=(
            "rank x (inputs + outputs) parameters per layer, 16 bytes each with AdamW; the time hardly changes.",
            "每层 rank x (输入 + 输出) 个参数,AdamW 下每个 16 字节;耗时几乎不变。",
        ),
        history=(
            "PEFT's own default is 8, which Axolotl falls back to; Firefly and PEFT's examples/sft take 64.",
            "PEFT 默认 8,Axolotl 不写时也是如此;Firefly 与 PEFT 的 examples/sft 默认 64。",
        ),
        misread=(
            "A higher rank does not guard against overfitting, it invites it. A lower rank does not compress the model: its own weights stay as they are.",
            "更高的秩不能避免过拟合,反而更容易过拟合;更低的秩也不会压缩模型,原有权重保持不变。",
        ),
    )
    alpha: float = setting(
        32.0,
        gt=0,
        en="LoRA scale: the update counts alpha / rank.",
        zh="LoRA 缩放:更新量乘以 alpha / rank。",
        up=("The adapter learns too slowly.", "适配器学得太慢时调大。"),
        down=("Training is unstable.", "训练不稳定时调小。"),
        history=(
            "Common pairs: alpha = 2 x rank (today's habit), 16 with rank 64 (Firefly, PEFT's examples/sft), 8 with rank 8 (PEFT).",
            "常见搭配:alpha = 2 x rank(如今的习惯)、rank 64 配 16(Firefly、PEFT 的 examples/sft)、rank 8 配 8(PEFT)。",
        ),
        misread=(
            "Alpha alone is no strength: 16 is a scale of 2 at rank 8, and of 0.25 at rank 64. Compare alpha / rank.",
            "alpha 本身不代表强度:rank 8 时 16 相当于缩放 2,rank 64 时只有 0.25;应比较 alpha / rank。",
        ),
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
        cost=(
            "Above 0 it costs time and one more copy of each adapted layer's input.",
            "大于 0 时增加耗时,并多存一份各适配层的输入。",
        ),
        misread=(
            "It drops inputs of the adapter, not connections of the network: the frozen path is whole at all times.",
            "丢弃的是适配器的输入,而不是网络的连接:冻结通路始终完整。",
        ),
    )
    targets: tuple[str, ...] | str = setting(
        "all-linear",
        en="Layers that get the adapter: all-linear (all but the output layer), names, or one regular expression.",
        zh="加适配器的层:all-linear(除输出层外的所有线性层)、名称列表或一个正则表达式。",
        up=("More layers when quality lacks.", "质量不足时增加层。"),
        down=("Attention only, to save memory.", "省显存时只选注意力层。"),
        cost=(
            "Each layer more adds rank x (inputs + outputs) parameters and keeps its input for the backward pass.",
            "每多一层增加 rank x (输入 + 输出) 个参数,并为反向传播保留该层输入。",
        ),
        history=(
            "LoRA's paper adapted attention's query and value only; QLoRA (2023) found that all linear layers are needed to match full fine-tuning. PEFT's default differs from model to model; for ChatGLM it is query_key_value.",
            "LoRA 论文只适配注意力的 Q 与 V;QLoRA(2023)发现要适配全部线性层才能达到全参效果。PEFT 的默认值因模型而异,ChatGLM 为 query_key_value。",
        ),
        misread=(
            "query_key_value is PEFT's default for ChatGLM3 and no law: dense, dense_h_to_4h and dense_4h_to_h can be adapted as well.",
            "query_key_value 只是 PEFT 对 ChatGLM3 的默认值,并非不可修改:dense、dense_h_to_4h、dense_4h_to_h 同样可以适配。",
        ),
    )
    modules_to_save: tuple[str, ...] = setting(
        (),
        en="Modules trained and saved in full beside the adapter.",
        zh="与适配器一起全量训练并保存的模块。",
        up=("New tokens were added: embed_tokens and lm_head.", "新增词元时填 embed_tokens、lm_head。"),
        down=("Each costs as much as full fine-tuning of it.", "每个都按全参训练计开销。"),
        cost=(
            "16 bytes per parameter with AdamW: an embedding of 32,000 x 4,096 takes 2 GB.",
            "AdamW 下每参数 16 字节:32,000 x 4,096 的嵌入约 2 GB。",
        ),
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
        cost=(
            "One more number per output; every step is slower by a fifth to a half.",
            "每个输出多一个参数;每步慢两成到五成。",
        ),
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
        cost=(
            "pissa, olora and loftq take a decomposition of every adapted matrix at the start: minutes for large models.",
            "pissa、olora、loftq 在开始时要分解每个适配矩阵,大模型需数分钟。",
        ),
    )
    bias: Literal["none", "all", "lora_only"] = setting(
        "none",
        en="Which biases train as well.",
        zh="哪些偏置一并训练。",
        up=("all for the last bit of quality.", "追求极致质量时用 all。"),
        down=("none can be merged and unmerged exactly.", "none 可精确合并与还原。"),
        misread=(
            "LoRA is not applied to biases: a bias that trains is trained itself.",
            "LoRA 并不作用于偏置:参训的偏置是直接训练其自身。",
        ),
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
        cost=(
            "As a prefix: 2 x layers x key/value width parameters each, and their share of every attention.",
            "作为前缀:每个占 2 x 层数 x 键值宽度 个参数,并参与每次注意力计算。",
        ),
        history=(
            "ChatGLM3's demo trains them inside the model (P-Tuning v2, config.pre_seq_len) rather than through PEFT; its text says 100 and its file 128.",
            "ChatGLM3 示例在模型内部训练前缀(P-Tuning v2,config.pre_seq_len),并非经由 PEFT;其说明写 100,文件写 128。",
        ),
        misread=(
            "A prefix is no text of virtual words before each layer: it is trained keys and values that each layer's attention also sees.",
            "前缀并不是放在每层之前的“虚拟文字”,而是每层注意力额外看到的可训练键与值。",
        ),
    )
    projection: bool = setting(
        False,
        en="Let a small network of two layers make the prefix, rather than train its keys and values themselves (Li & Liang 2021).",
        zh="前缀由一个两层小网络生成,而不是直接训练其键和值(Li & Liang,2021)。",
        up=("A prefix that learns slowly or unsteadily.", "前缀学得慢或不稳定时开启。"),
        down=("P-Tuning v2 as ChatGLM uses it is without.", "ChatGLM 所用的 P-Tuning v2 不带它。"),
        cost=(
            "While it trains, about 2 x layers x key/value width x projection_width parameters more, 16 bytes each with AdamW; afterwards nothing: the prefix alone is saved.",
            "训练时约多 2 x 层数 x 键值宽度 x projection_width 个参数,AdamW 下每个 16 字节;训练后没有额外开销,只保存前缀本身。",
        ),
        misread=(
            "The network is no part of the result: it is thrown away, and a prefix that is gone on with is trained as it is.",
            "该网络不属于训练结果:训练后即丢弃,继续训练时直接训练前缀本身。",
        ),
    )
    projection_width: int | None = setting(
        None,
        gt=0,
        unit="features",
        en="Width between the two layers of that network; left out, that of a layer's keys.",
        zh="该网络两层之间的宽度;留空则取每层键的宽度。",
        up=("A long prefix, much data.", "前缀较长、数据较多时调大。"),
        down=("Most of the network's parameters are paid by it.", "网络的大部分参数由它决定,省显存时调小。"),
    )
    continue_from: str | None = setting(
        None,
        en="A trained adapter to go on from.",
        zh="从已有适配器继续训练。",
        up=("To train an adapter further.", "继续训练已有适配器时设置。"),
        down=("Leave it out to start a new one.", "新建适配器时留空。"),
    )
