"""How many documents or packs go into one optimiser step, and how many steps there are."""

from __future__ import annotations

from luthier.recipe.field import Section, setting


class Batch(Section):
    """Micro-batch x accumulation x processes = one optimiser step; the loss is divided once, by its trained tokens."""

    micro: int = setting(
        1,
        gt=0,
        unit="packs",
        en="Packs (documents, when pack.kind is none) in one forward pass of one device.",
        zh="单设备一次前向的打包数(pack.kind 为 none 时为文档数)。",
        up=("The device is not busy and memory is left.", "设备利用率低且显存有余时调大。"),
        down=("Out of memory: raise accumulation by the same factor.", "显存不足时调小,并等比增大 accumulation。"),
        cost=(
            "Activations grow in proportion; weights, gradients and optimiser state do not.",
            "激活显存成正比增长;权重、梯度与优化器状态不变。",
        ),
        history=(
            "per_gpu_train_batch_size became per_device_train_batch_size; Axolotl's micro_batch_size lengthens the row when it packs.",
            "旧名 per_gpu_train_batch_size,后为 per_device_train_batch_size;Axolotl 打包时 micro_batch_size 会加长行。",
        ),
        misread=(
            "It counts packs, so with short rows one step may hold many documents.",
            "它数的是打包而非样本:短样本时一步可含很多文档。",
        ),
    )
    accumulation: int = setting(
        1,
        gt=0,
        unit="micro-batches",
        en="Micro-batches whose gradients are summed before one step.",
        zh="每个优化步累积的微批数。",
        up=("The step should average over more tokens than fit.", "想要更大的有效批量时调大。"),
        down=("More, noisier steps.", "想要更多次更新时调小。"),
        cost=(
            "No memory beyond one micro-batch; a step takes as many times longer.",
            "显存只需一个微批;每步耗时成倍增加。",
        ),
        history=(
            "Before transformers 4.46 the mean of micro-batch means was taken, so tokens of short micro-batches counted more; since then, and here, the sum is divided once by all trained tokens.",
            "transformers 4.46 之前取各微批均值的平均,短微批中的词元权重偏大;此后与这里都是求和后只除一次参训词元总数。",
        ),
        misread=(
            "It does not speed anything up and steps no oftener: it buys a larger batch with time. It equals a large batch only if the loss is divided once by all trained tokens.",
            "它不加速,也不会更频繁地更新:只是以时间换更大的批。只有损失统一除以全部参训词元数时,才与大批量等价。",
        ),
    )
    evaluate: int | None = setting(
        None,
        gt=0,
        unit="packs",
        en="micro for evaluation, and how many questions are answered together; never more tokens than training has at once. Unset means micro, and up to 64 questions.",
        zh="评估时的微批大小,也是同时回答的问题数;词元数不会超过训练时的一个微批。不设则与 micro 相同,问题最多 64 个。",
        up=("More questions at once, as far as they fit.", "在容量之内想同时回答更多问题时调大。"),
        down=("Out of memory while evaluating.", "评估时显存不足则调小。"),
        cost=("No more memory than training takes.", "显存不超过训练。"),
        misread=(
            "A larger number than micro makes no larger evaluation batches: the peak of memory is training's.",
            "大于 micro 并不会让评估批变大:显存峰值以训练为准。",
        ),
    )
    epochs: float = setting(
        1.0,
        gt=0,
        unit="epochs",
        en="Passes over the data; fractions are allowed.",
        zh="数据遍历轮数,可为小数。",
        up=("The evaluation loss still falls at the end.", "结束时验证损失仍在下降则调大。"),
        down=("It rises again: the data are being memorised.", "验证损失回升(过拟合)时调小。"),
        cost=("Time grows in proportion.", "耗时成正比增长。"),
        history=("TrainingArguments without it means 3; Axolotl, 1.", "TrainingArguments 不写即为 3,Axolotl 为 1。"),
    )
    steps: int | None = setting(
        None,
        gt=0,
        unit="steps",
        en="Optimiser steps in all; wins over epochs.",
        zh="总优化步数,优先于 epochs。",
        up=("As epochs.", "同 epochs。"),
        down=("A trial run.", "试跑时调小。"),
        cost=("Time grows in proportion.", "耗时成正比增长。"),
        history=("TrainingArguments writes -1 for “by epochs”.", "TrainingArguments 以 -1 表示按轮数计。"),
    )
    drop_last: bool = setting(
        False,
        en="Skip the incomplete step at an epoch's end.",
        zh="丢弃每轮末尾不完整的优化步。",
        up=("Every step must average over equally many packs.", "要求每步打包数一致时开启。"),
        down=("Every row counts.", "不想丢数据时关闭。"),
    )
    find_micro: bool = setting(
        False,
        en="Before the first step, halve micro and double accumulation until it fits.",
        zh="首步之前若放不下,则减半 micro、加倍 accumulation。",
        up=("The device is unknown.", "设备未知时开启。"),
        down=("The plan says it fits.", "计划显示放得下时关闭。"),
        cost=("Some tries at the start.", "开始时需试跑几次。"),
        misread=(
            "auto_find_batch_size looks for no best size: it halves the batch after running out of memory. Upstream that changed the batch and so the result; here accumulation doubles.",
            "auto_find_batch_size 并不寻找最优大小,只在显存溢出后减半;上游因此改变了批量与结果,这里同时加倍 accumulation。",
        ),
    )
    world: int | None = setting(
        None,
        gt=0,
        unit="processes",
        en="Processes the recipe was written for; unset means those that are there.",
        zh="配方假定的进程数;不设则取实际进程数。",
        up=("It was tuned on more devices.", "原配方在更多设备上调优时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
        history=(
            "It stands in launchers (torchrun, accelerate's num_processes) and hardly ever in recipes, although the batch size depends on it.",
            "它写在启动器中(torchrun、accelerate 的 num_processes),配方里很少写,而批量大小却取决于它。",
        ),
    )
