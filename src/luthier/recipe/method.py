"""What is learned: the objective and its terms."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting


class Method(Section):
    """The objective."""

    kind: str = setting(
        "sft",
        en="pretrain (every token), sft (the answers), dpo, ipo, kto, orpo, simpo, cpo, reward, or module:attribute.",
        zh="训练目标:pretrain(全部词元)、sft(回答部分)、dpo、ipo、kto、orpo、simpo、cpo、reward,或 module:attribute。",
        up=("Preference methods when there are pairs.", "有偏好对时用偏好方法。"),
        down=("sft first: it is the base of all of them.", "先做 sft,它是其余方法的基础。"),
        cost=(
            "Preference methods read two answers per row and, without an adapter, hold a second model.",
            "偏好方法每行要计算两个回答;没有适配器时还需第二个模型。",
        ),
        misread=(
            "SFT is supervised fine-tuning: the answers of examples are learned by cross-entropy. It is not “soft parameter sharing”, and no penalty holds the weights near their start. TRL's SFTTrainer is no sequence-to-sequence trainer, nor more accurate than Trainer: it is the same loop with templates, packing and adapters around it.",
            "SFT 是有监督微调(supervised fine-tuning):用交叉熵学习示例中的回答。它不是“软参数共享”,也没有把权重拉在初值附近的惩罚项。TRL 的 SFTTrainer 不是序列到序列训练器,也不比 Trainer 更准确:训练循环相同,只是外加模板、打包与适配器。",
        ),
    )
    beta: float = setting(
        0.1,
        gt=0,
        en="How strongly preference tuning is held to the reference model.",
        zh="偏好训练对参考模型的约束强度。",
        up=("The model drifts.", "模型偏移过大时调大。"),
        down=("It hardly learns.", "学不动时调小。"),
        history=(
            "Firefly calls it beta (0.1), Axolotl rl_beta and once dpo_beta.",
            "Firefly 称 beta(0.1),Axolotl 称 rl_beta,旧名 dpo_beta。",
        ),
    )
    max_prompt_length: int | None = setting(
        None,
        gt=0,
        unit="tokens",
        en="Longest prompt of a preference pair; its head is cut first.",
        zh="偏好样本提示的最大词元数,超出时先截去开头。",
        up=("Prompts lose their beginning.", "提示开头被截断时调大。"),
        down=("Answers need the room.", "需要给回答留空间时调小。"),
    )
    label_smoothing: float = setting(
        0.0,
        ge=0,
        lt=1,
        unit="share",
        en="Share of each target spread over the whole vocabulary.",
        zh="把目标概率的一部分均摊到整个词表。",
        up=("Labels are noisy.", "标签有噪声时调大。"),
        down=("0 for clean answers.", "数据干净时取 0。"),
    )
    neftune_alpha: float | None = setting(
        None,
        ge=0,
        en="Noise on the input embeddings (NEFTune, Jain et al. 2023).",
        zh="输入嵌入噪声(NEFTune,Jain 等,2023)。",
        up=("Small chat sets that are overfitted: 5 to 15.", "小对话集过拟合时取 5 到 15。"),
        down=("Unset for facts.", "学习事实类知识时不设。"),
        history=(
            "In transformers since 4.35 as neftune_noise_alpha; Axolotl's first name was noisy_embedding_alpha.",
            "transformers 自 4.35 起为 neftune_noise_alpha;Axolotl 最早称 noisy_embedding_alpha。",
        ),
        misread=(
            "NEFTune is noise on embeddings (Noisy Embedding Fine-Tuning) and has nothing to do with Neptune, the tracker.",
            "NEFTune 即嵌入加噪微调(Noisy Embedding Fine-Tuning),与跟踪工具 Neptune 无关。",
        ),
    )
    z_loss: float = setting(
        0.0,
        ge=0,
        en="Weight of log Z squared, which keeps logits from drifting (Chowdhery et al. 2022).",
        zh="log Z 平方项的权重,防止 logits 漂移(PaLM,2022)。",
        up=("Long bf16 pretraining.", "bf16 长时间预训练时调大。"),
        down=("0 for fine-tuning.", "微调取 0。"),
    )
    reference: Literal["auto", "model", "adapter_off", "precomputed"] = setting(
        "auto",
        en="Where preference tuning takes its reference from.",
        zh="偏好训练参考模型的来源。",
        up=("precomputed to free memory.", "省显存用 precomputed。"),
        down=("auto uses the frozen weights under an adapter.", "auto 在有适配器时用冻结权重。"),
        cost=(
            "model holds the weights twice; adapter_off costs one more forward pass; precomputed costs that once, beforehand.",
            "model 需两份权重;adapter_off 多一次前向;precomputed 只在训练前算一次。",
        ),
    )
