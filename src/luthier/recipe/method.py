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
    loss: Literal[
        "sigmoid",
        "hinge",
        "ipo",
        "robust",
        "exo_pair",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "apo_zero",
        "apo_down",
        "sigmoid_norm",
    ] = setting(
        "sigmoid",
        en="Which loss dpo takes of a pair; cpo knows sigmoid, hinge and ipo.",
        zh="dpo 对每个偏好对采用的损失;cpo 只支持 sigmoid、hinge 与 ipo。",
        up=(
            "robust where judgements are often wrong, apo_down where even the chosen answers are poor.",
            "标注常有错时用 robust;连被选回答也较差时用 apo_down。",
        ),
        down=("sigmoid is DPO's own.", "sigmoid 即 DPO 原本的损失。"),
        history=(
            "TRL's loss_type, in DPOConfig and CPOConfig; Axolotl takes rl: ipo and the like for it, or dpo_loss_type.",
            "对应 TRL 的 DPOConfig 与 CPOConfig 中的 loss_type;Axolotl 以 rl: ipo 等或 dpo_loss_type 表示。",
        ),
    )
    preference_smoothing: float = setting(
        0.0,
        ge=0,
        lt=1,
        unit="share",
        en="Share of pairs taken to be judged the wrong way round (conservative DPO, Mitchell 2023).",
        zh="假定被标反的偏好对所占比例(保守 DPO,Mitchell,2023)。",
        up=("Judgements are noisy.", "偏好标注噪声大时调大。"),
        down=("0 where they can be trusted.", "标注可信时取 0。"),
        history=(
            "label_smoothing in TRL's DPOConfig and CPOConfig, dpo_label_smoothing in Axolotl.",
            "TRL 的 DPOConfig、CPOConfig 中为 label_smoothing,Axolotl 中为 dpo_label_smoothing。",
        ),
    )
    nll_weight: float | None = setting(
        None,
        ge=0,
        en="Weight of the chosen answer's own cross-entropy beside the preference loss; unset means 1 for cpo and 0 for the others. ORPO always has it.",
        zh="在偏好损失之外,被选回答自身交叉熵的权重;不设时 cpo 为 1,其余为 0。ORPO 始终包含该项。",
        up=("The chosen answers become less likely as well.", "被选回答的概率也随训练下降时调大。"),
        down=("Only the difference should count.", "只想比较差异时调小。"),
        history=(
            "rpo_alpha in DPO, cpo_alpha in CPO and SimPO, where TRL's default is 1.",
            "DPO 中称 rpo_alpha;CPO 与 SimPO 中称 cpo_alpha,TRL 默认为 1。",
        ),
    )
    margin: float = setting(
        0.5,
        ge=0,
        en="By how much SimPO wants the chosen answer's reward to lead (its gamma).",
        zh="SimPO 要求被选回答的奖励领先的幅度(即 gamma)。",
        up=("Pairs are clearly different.", "成对回答差别明显时调大。"),
        down=("Answers degrade.", "回答质量下降时调小。"),
        history=(
            "simpo_gamma in TRL and Axolotl; the paper divides it by beta (0.5 of 2.0 and more).",
            "TRL 与 Axolotl 称 simpo_gamma;论文常以其与 beta 之比描述(beta 取 2.0 以上)。",
        ),
    )
    desirable_weight: float = setting(
        1.0,
        ge=0,
        en="Weight of the answers that are wanted (KTO).",
        zh="KTO 中可取回答的权重。",
        up=("There are far fewer of them.", "可取回答远少于不可取回答时调大。"),
        down=(
            "There are far more of them: weight times number should be 1 to 1.33 times that of the others.",
            "可取回答远多时调小:权重乘数量应为另一类的 1 到 1.33 倍。",
        ),
    )
    undesirable_weight: float = setting(
        1.0,
        ge=0,
        en="Weight of the answers that are not wanted (KTO).",
        zh="KTO 中不可取回答的权重。",
        up=("There are far fewer of them.", "不可取回答远少时调大。"),
        down=("There are far more of them.", "不可取回答远多时调小。"),
    )
    center_rewards: float = setting(
        0.0,
        ge=0,
        en="How strongly a reward model's rewards are held near zero (Eisenstein et al. 2023).",
        zh="把奖励模型的奖励约束在零附近的强度(Eisenstein 等,2023)。",
        up=("0.01 where rewards drift.", "奖励整体漂移时取 0.01。"),
        down=("0: only differences matter.", "只看差值时取 0。"),
    )
    model_dropout: bool = setting(
        False,
        en="Whether the model's own dropout, which GPT-2, OPT and a few others have, stays on while they learn from judged answers. An adapter's is adapter.dropout.",
        zh="在偏好数据上训练时是否保留模型自带的 dropout(GPT-2、OPT 等少数模型有);适配器的 dropout 由 adapter.dropout 设定。",
        up=("The model is small and overfits.", "模型小且过拟合时开启。"),
        down=(
            "Off: its answers are as likely at the start as under the reference, so that DPO begins at ln 2.",
            "关闭:起步时回答的概率与参考模型一致,DPO 的损失从 ln 2 开始。",
        ),
        history=(
            "disable_dropout in TRL's preference configs says the opposite, and is true unless it is set.",
            "TRL 偏好训练配置中的 disable_dropout 含义相反,默认为 true。",
        ),
    )
    max_prompt_length: int | None = setting(
        None,
        gt=0,
        unit="tokens",
        en="Longest prompt of a judged row; a longer one loses its head. With data.overlong: keep_answer only where the row is too long, and by no more than it has to.",
        zh="偏好样本提示的最大词元数,超出部分从开头截去;data.overlong 为 keep_answer 时仅在整行超长时截断,且只截到够用为止。",
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
        en="Noise on the input embeddings while training, within alpha / sqrt(length x width) (NEFTune, Jain et al. 2023); the length is each document's own, also in a pack.",
        zh="训练时加在输入嵌入上的噪声,幅度不超过 alpha / sqrt(长度 x 宽度)(NEFTune,Jain 等,2023);打包时长度仍按各文档自身计。",
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
    weighting: Literal["equal", "probability"] = setting(
        "equal",
        en="What a trained token counts: all the same, or each its probability under the model (Dynamic Fine-Tuning, Wu et al. 2025).",
        zh="每个参训词元的权重:全部相同,或取模型当前给它的概率(动态微调 DFT,Wu 等,2025)。",
        up=(
            "probability where answers carry noise, or what the model knew gets lost: unlikely tokens pull less.",
            "回答有噪声或原有能力受损时用 probability:低概率词元的影响变小。",
        ),
        down=("equal where new facts are to be learned.", "学习新知识时用 equal。"),
        history=(
            "Axolotl's use_dynamic_finetuning; TRL's loss_type: dft.",
            "Axolotl 的 use_dynamic_finetuning;TRL 的 loss_type: dft。",
        ),
        misread=(
            "The loss shown is no longer a cross-entropy and falls for other reasons; the cross-entropy is reported beside it.",
            "此时显示的损失不再是交叉熵,不能与普通微调比较;交叉熵另行记录。",
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
    reference: Literal["auto", "model", "adapter_off", "precomputed", "none"] = setting(
        "auto",
        en="Where preference tuning takes its reference from: the model as it began (model), the frozen weights without their adapter (adapter_off), numbers worked out once before the first step (precomputed), or nothing (none: all answers equally likely).",
        zh="偏好训练参考模型的来源:model 为训练开始时的模型;adapter_off 为关闭适配器的冻结权重;precomputed 为训练前一次算好的数值;none 为无参考(视所有回答等可能)。",
        up=("precomputed to free memory.", "省显存用 precomputed。"),
        down=(
            "auto: an adapter is switched off, or put back to its start where that was not nothing; a whole model is copied.",
            "auto:有适配器时将其关闭(若其初值并非零,则换回初值);全量训练时复制一份模型。",
        ),
        cost=(
            "model holds the weights twice; adapter_off costs one more forward pass; precomputed costs that once, beforehand.",
            "model 需两份权重;adapter_off 多一次前向;precomputed 只在训练前算一次。",
        ),
    )
