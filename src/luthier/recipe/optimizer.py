"""How gradients become updates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, JsonValue

from luthier.recipe.field import Section, setting
from luthier.recipe.optimizers import by_its_name


class Optimizer(Section):
    """The optimiser and its constants. Weight decay is decoupled and spares biases and norms."""

    kind: Annotated[str, AfterValidator(by_its_name)] = setting(
        "adamw",
        en="The optimiser: adamw (Loshchilov & Hutter 2019), another by its usual name (sgd, adafactor, adamw_bnb_8bit, lion_8bit, muon, …), or module:attribute.",
        zh="优化器:adamw、其他常用名称(sgd、adafactor、adamw_bnb_8bit、lion_8bit、muon 等),或 module:attribute。",
        up=("Name another to repeat a recipe.", "复现配方时指定。"),
        down=("adamw is a safe start.", "adamw 是稳妥的起点。"),
        cost=(
            "AdamW keeps 8 bytes per trained parameter, 8-bit AdamW about 2, Lion and Muon 4, 8-bit Lion about 1, SGD and Adafactor next to none.",
            "AdamW 每个参训参数占 8 字节,8 比特 AdamW 约 2,Lion 与 Muon 为 4,8 比特 Lion 约 1,SGD 与 Adafactor 几乎不占。",
        ),
        history=(
            "adafactor: true came before optim; adamw_hf, adamw_torch and adamw_torch_fused are one arithmetic; the member PAGED_ADAMW prints for paged_adamw_32bit.",
            "adafactor: true 早于 optim;adamw_hf、adamw_torch、adamw_torch_fused 算法相同;打印出的 PAGED_ADAMW 即 paged_adamw_32bit。",
        ),
        misread=(
            "Paging moves the state to host memory when the GPU is full and changes no number; 8-bit state does change the steps.",
            "paged 只在显存满时把状态移到主机内存,不改变数值;8 比特状态则会改变更新。",
        ),
    )
    lr: float = setting(
        2e-4,
        gt=0,
        en="Peak learning rate.",
        zh="峰值学习率。",
        up=("The loss falls slowly; adapters take 1e-4 to 1e-3.", "损失下降慢时调大;适配器常用 1e-4 到 1e-3。"),
        down=("The loss jumps; full fine-tuning takes 1e-6 to 5e-5.", "损失震荡时调小;全参微调常用 1e-6 到 5e-5。"),
        history=(
            "TrainingArguments without it means 5e-5; Axolotl insists on one. 2e-5 is text to YAML 1.1 and a number to YAML 1.2.",
            "TrainingArguments 不写即为 5e-5,Axolotl 要求写明。2e-5 在 YAML 1.1 中是文本,在 YAML 1.2 中是数。",
        ),
    )
    beta1: float = setting(
        0.9,
        ge=0,
        lt=1,
        en="Decay of the running mean of gradients.",
        zh="梯度一阶动量的衰减率。",
        up=("Gradients are noisy.", "梯度噪声大时调大。"),
        down=("It reacts too slowly.", "反应迟钝时调小。"),
        history=(
            "Axolotl passes over adam_eps and the like without a word: its names are adam_beta1, adam_beta2, adam_epsilon.",
            "Axolotl 会静默忽略 adam_eps 之类的写法:正确名称为 adam_beta1、adam_beta2、adam_epsilon。",
        ),
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
        en="Share of each weight (times lr) taken away per step; decoupled, not an L2 term in the loss (sgd, adagrad and rmsprop add it to the gradient, as their libraries do).",
        zh="每步按 lr 比例缩减权重;为解耦衰减,并非损失中的 L2 项(sgd、adagrad、rmsprop 按其库的做法加到梯度上)。",
        up=("Many epochs, large models from scratch: 0.1.", "从零训练或多轮训练取 0.1。"),
        down=("Adapters and short runs: 0.", "适配器与短训练取 0。"),
        history=(
            "An L2 term in the loss and weight decay are one thing under SGD and two under Adam; AdamW (Loshchilov & Hutter 2019) took them apart, and every trainer here uses AdamW's.",
            "L2 项与权重衰减在 SGD 下等价,在 Adam 下则不同;AdamW(Loshchilov & Hutter,2019)将两者分开,这里的各训练器都用 AdamW 的做法。",
        ),
        misread=(
            "It is no L2 penalty in the loss. Each step takes lr x weight_decay x w off a weight w, not weight_decay x w: 0.1 at lr 2e-4 is 0.002 %. Biases and norms are spared.",
            "它不是损失中的 L2 惩罚。每步从权重 w 减去 lr x weight_decay x w,而不是 weight_decay x w:lr 为 2e-4 时 0.1 只是 0.002%。偏置与归一化层不衰减。",
        ),
    )
    clip: float | None = setting(
        1.0,
        gt=0,
        en="Largest norm of the gradient; unset means no clipping.",
        zh="梯度范数上限;不设则不裁剪。",
        up=("Every step is clipped.", "每步都被裁剪时调大。"),
        down=("The loss has spikes.", "损失出现尖峰时调小。"),
        history=(
            "TrainingArguments without it means 1.0; 0 turned it off. QLoRA's 0.3 lives on in many files.",
            "TrainingArguments 不写即为 1.0,0 表示关闭;许多文件沿用 QLoRA 的 0.3。",
        ),
        misread=(
            "It shortens the whole gradient to this norm and keeps its direction; it does not cut single numbers.",
            "它把整个梯度缩到该范数以内并保持方向,不是逐个数截断。",
        ),
    )
    embedding_lr: float | None = setting(
        None,
        gt=0,
        en="Another learning rate for the embeddings and the output layer, along the same schedule.",
        zh="嵌入层与输出层的单独学习率,沿用同一调度曲线。",
        up=("New tokens have to be learned fast.", "新增词元需快速学习时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    lora_plus: float | None = setting(
        None,
        gt=0,
        en="Ratio of the learning rates of LoRA's B and A (LoRA+, Hayou et al. 2024); optimizer.lr is A's.",
        zh="LoRA 中 B 与 A 的学习率之比(LoRA+,Hayou et al. 2024);optimizer.lr 为 A 的学习率。",
        up=("Wide models: 16.", "宽模型可取 16。"),
        down=("Leave it out for plain LoRA.", "普通 LoRA 留空。"),
        history=("loraplus_lr_ratio in Axolotl.", "Axolotl 中为 loraplus_lr_ratio。"),
    )
    lora_plus_embedding_lr: float | None = setting(
        None,
        gt=0,
        en="Under lora_plus, another learning rate for LoRA's matrices in embeddings, both of them.",
        zh="启用 lora_plus 时,嵌入层中 LoRA 两个矩阵的单独学习率。",
        up=("New tokens are learned through LoRA in the embeddings.", "通过嵌入层的 LoRA 学习新词元时调大。"),
        down=("1e-6 is PEFT's.", "PEFT 取 1e-6。"),
        history=(
            "loraplus_lr_embedding in Axolotl, 1e-6 there; left out here, B goes at lora_plus times the rate.",
            "Axolotl 中为 loraplus_lr_embedding,默认 1e-6;此处不写则 B 的学习率为 lora_plus 倍。",
        ),
    )
    args: dict[str, JsonValue] = setting(
        dict,
        en="Further constants of the optimiser, by its own names.",
        zh="优化器的其他参数(按其自身名称)。",
        up=("The optimiser has constants of its own.", "优化器有专属参数时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
    fallback: Literal["replace", "refuse"] = setting(
        "replace",
        en="What happens when this machine cannot run the optimiser (no package, no GPU to page from): replace takes the one that makes the same steps with its state stored otherwise, and says so; refuse stops before anything is loaded. Where there is none such, both refuse.",
        zh="当前机器无法运行该优化器时(缺少软件包,或没有 GPU 可供分页)的处理:replace 改用更新相同、仅状态存储方式不同的优化器并加以说明;refuse 在加载之前停止。没有等价替代时,两者都会拒绝。",
        up=("replace: the run goes on.", "replace:继续运行。"),
        down=(
            "refuse: a run has to round its state exactly as another did.",
            "refuse:状态的舍入必须与另一次运行完全一致。",
        ),
    )
