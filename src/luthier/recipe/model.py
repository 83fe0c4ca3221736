"""Which weights a run starts from, and which of them may move."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting


class Scratch(Section):
    """The shape of a Llama that starts from random weights."""

    hidden: int = setting(
        256,
        gt=0,
        unit="features",
        en="Width of the residual stream.",
        zh="残差流(隐藏层)的宽度。",
        up=("The model has more data than it can hold.", "数据量超过模型容量时调大。"),
        down=("Memory or time is short; cost grows with its square.", "显存或时间不足时调小,开销随其平方增长。"),
        cost=("Memory and time grow with its square.", "显存与时间随其平方增长。"),
    )
    layers: int = setting(
        6,
        gt=0,
        unit="layers",
        en="Number of decoder layers.",
        zh="解码器层数。",
        up=("Tasks that need several steps of composition.", "任务需要多步组合推理时调大。"),
        down=("Latency matters: layers run one after another.", "在意延迟时调小,各层只能依次执行。"),
        cost=("Memory and time grow in proportion.", "显存与时间成正比增长。"),
    )
    heads: int = setting(
        8,
        gt=0,
        unit="heads",
        en="Attention heads; hidden must be a multiple of it.",
        zh="注意力头数,hidden 须能被其整除。",
        up=("Heads would be wider than 128 features.", "单头宽度超过 128 时调大。"),
        down=("Heads would be narrower than 32 features.", "单头宽度不足 32 时调小。"),
    )
    kv_heads: int | None = setting(
        None,
        gt=0,
        unit="heads",
        en="Key/value heads shared by groups of query heads; unset means one per query head.",
        zh="键值头数(分组查询注意力);不设则与注意力头数相同。",
        up=("Quality before memory.", "质量优先时调大。"),
        down=("Generation is bound by the key/value cache.", "生成受 KV 缓存限制时调小。"),
        cost=("The key/value cache of generation grows in proportion.", "生成时的 KV 缓存成正比增长。"),
    )
    intermediate: int | None = setting(
        None,
        gt=0,
        unit="features",
        en="Width inside the gated MLP; unset means 8/3 of hidden, rounded up to 32.",
        zh="门控 MLP 的内部宽度;不设则取 hidden 的 8/3 并向上取到 32 的倍数。",
        up=("Facts to remember outgrow the model.", "需要记忆的知识更多时调大。"),
        down=("Two thirds of the parameters sit here: to save memory.", "三分之二参数在此,省显存时调小。"),
        cost=("Memory and time grow in proportion.", "显存与时间成正比增长。"),
    )
    max_positions: int = setting(
        2048,
        gt=0,
        unit="tokens",
        en="Longest document the model is built for.",
        zh="模型支持的最大文档长度。",
        up=("Documents are longer than this.", "文档更长时调大。"),
        down=("Never needed: it costs nothing by itself.", "一般无需调小,本身不占开销。"),
    )
    rope_theta: float = setting(
        10000.0,
        gt=0,
        en="Base of the rotary position frequencies.",
        zh="旋转位置编码(RoPE)的频率基数。",
        up=("Contexts beyond 4k tokens.", "上下文超过 4k 时调大。"),
        down=("Short contexts only.", "仅用短上下文时调小。"),
    )
    tie_embeddings: bool = setting(
        True,
        en="Share the input embedding with the output layer.",
        zh="输入嵌入与输出层共享权重。",
        up=("Small models, where embeddings dominate.", "小模型(嵌入占比大)时开启。"),
        down=("Large models, which gain from a free output layer.", "大模型可关闭以获得独立输出层。"),
        cost=("On saves vocabulary x hidden parameters.", "开启可省去 词表 x hidden 个参数。"),
    )
    init_std: float = setting(
        0.02,
        gt=0,
        en="Standard deviation of the initial weights.",
        zh="初始权重的标准差。",
        up=("The loss starts flat for long.", "损失长时间不下降时调大。"),
        down=("The first steps are unstable.", "起步不稳定时调小。"),
    )


class Model(Section):
    """Where the weights come from."""

    path: str | None = setting(
        None,
        en="Directory in the Hugging Face layout, or a name on the hub.",
        zh="Hugging Face 格式的模型目录或 hub 上的名称。",
        up=("To start from trained weights.", "从已有权重开始训练时设置。"),
        down=("Leave it out when model.scratch gives a shape.", "用 model.scratch 从零训练时留空。"),
    )
    revision: str | None = setting(
        None,
        en="Branch, tag or commit on the hub.",
        zh="hub 上的分支、标签或提交。",
        up=("To pin a published model.", "需要锁定版本时设置。"),
        down=("Local directories have none.", "本地目录无需设置。"),
    )
    scratch: Scratch | None = setting(
        None,
        en="Build a Llama of this shape with random weights.",
        zh="按此形状从零构建随机初始化的 Llama。",
        up=("To pretrain from scratch.", "从零预训练时设置。"),
        down=("Leave it out to fine-tune.", "微调时留空。"),
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        en="Type the weights are held in; auto keeps full fine-tuning in fp32 and frozen weights as stored.",
        zh="权重的存放精度;auto 在全参训练时用 fp32,冻结权重保持原精度。",
        up=("fp32 when updates are tiny and would be rounded away.", "更新量很小易被舍入时用 fp32。"),
        down=("bf16 when the weights do not fit.", "放不下时用 bf16。"),
        cost=("4 bytes per weight in fp32, 2 in bf16 and fp16.", "fp32 每个权重 4 字节,bf16 与 fp16 为 2 字节。"),
        history=(
            "PEFT's examples/sft loads in fp32 even with --bf16, unless the 4-bit storage type is a float; Firefly loads in the one of fp16 and bf16 that is on; ChatGLM3's demo casts trained weights to fp32.",
            "PEFT 的 examples/sft 即使带 --bf16 也以 fp32 载入,除非 4 比特存储类型为浮点;Firefly 按开启的 fp16 或 bf16 载入;ChatGLM3 示例把参训权重转为 fp32。",
        ),
        misread=(
            "bf16: true of a trainer asks for bf16 products, not for weights held in bf16.",
            "训练器的 bf16: true 指以 bf16 做运算,并非以 bf16 存放权重。",
        ),
    )
    attention: Literal["auto", "sdpa", "blocks", "varlen", "flash", "flex", "eager", "alone"] = setting(
        "auto",
        en="Attention kernel; documents in a pack are isolated under each of them.",
        zh="注意力实现;无论哪种,同一打包内的文档都彼此隔离。",
        up=("Name one to compare kernels.", "需要对比内核时指定。"),
        down=("auto picks the fastest that the device has.", "auto 会选设备上最快的实现。"),
        cost=(
            "eager holds the whole attention matrix, which grows with the square of the length; the others never do. alone runs all layers on one document after the other, slower the shorter documents are; models whose attention is their own (Bloom, Falcon, MPT) or that carry a state (Mamba) take no other.",
            "eager 需保存整个注意力矩阵,随长度平方增长;其余实现不保存。alone 让各层逐个文档计算,文档越短越慢;自带注意力(Bloom、Falcon、MPT)或带状态(Mamba)的模型只能用它。",
        ),
        history=(
            "Each kernel once had a switch of its own: flash_attention, xformers_attention, sdp_attention, --use_flash_attn; today attn_implementation names one.",
            "过去每种内核各有开关:flash_attention、xformers_attention、sdp_attention、--use_flash_attn;如今由 attn_implementation 指定。",
        ),
        misread=(
            "Flash attention is no approximation: it computes the same attention, apart from rounding. There is no accuracy to gain by turning it off.",
            "Flash Attention 不是近似算法:除舍入外结果与普通注意力相同,关闭它并不会提高精度。",
        ),
    )
    trainable: tuple[str, ...] = setting(
        (),
        en="Regular expressions of the parameters that train in full fine-tuning, by their names in the model or in the checkpoint's files; empty means all.",
        zh="全参训练时参与训练的参数名正则,按模型中或权重文件中的名称匹配;空表示全部。",
        up=("To train some layers only.", "只训练部分层时设置。"),
        down=("Leave it empty to train everything.", "训练全部参数时留空。"),
        cost=(
            "A parameter that does not train needs no gradient and no optimiser state: 12 bytes less each.",
            "不参与训练的参数没有梯度与优化器状态,每个省 12 字节。",
        ),
    )
    last_layers: int | None = setting(
        None,
        gt=0,
        unit="layers",
        en="Train only the last n decoder layers and the output.",
        zh="只训练最后 n 个解码层及输出层。",
        up=("More of the model should adapt.", "需要更多层适应新任务时调大。"),
        down=("To save memory or keep what was learned.", "省显存或防遗忘时调小。"),
        cost=(
            "Frozen layers need no gradient and no optimiser state, and the backward pass stops below the first trained one.",
            "冻结层没有梯度与优化器状态,反向传播到最低的参训层为止。",
        ),
    )
    vocabulary_multiple: int = setting(
        1,
        gt=0,
        unit="rows",
        en="Round the embedding up to a multiple of this when tokens are added.",
        zh="新增词元后把嵌入行数向上取到该数的倍数。",
        up=("64 or 128 on GPUs with tensor cores.", "在带张量核心的 GPU 上可取 64 或 128。"),
        down=("1 keeps exactly the tokens there are.", "1 表示恰好等于词元数。"),
        history=(
            "PEFT's examples/sft rounds to 8 whenever a chat template brings new tokens.",
            "PEFT 的 examples/sft 在对话模板带来新词元时取 8 的倍数。",
        ),
    )
