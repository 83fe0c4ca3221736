"""What survives a crash."""

from __future__ import annotations

from luthier.recipe.field import Every, Section, setting


class Checkpoint(Section):
    """When the whole state of the run is saved, and how it is found again."""

    every: Every = setting(
        0.1,
        unit="steps, share of the run",
        en="When to save: n steps, a share of the run below 1, epoch, or never.",
        zh="保存时机:步数、小于 1 的总进度比例、epoch 或 never。",
        up=("Saving takes a noticeable share of the time.", "保存占用时间过多时调大间隔。"),
        down=("The machine may be taken away.", "机器可能随时被收回时调小间隔。"),
        cost=(
            "Disk and time for 12 bytes per trained parameter each time.",
            "每次写入每个参训参数约 12 字节,占用磁盘与时间。",
        ),
        history=(
            "save_steps: 0 means none in between; transformers 5 still saves at the last step, 4.37 to 4.40 did not. Axolotl's saves_per_epoch: 1 with one epoch saves at its end.",
            "save_steps: 0 表示中途不保存;transformers 5 仍会在最后一步保存,4.37 至 4.40 不会。Axolotl 的 saves_per_epoch: 1 且只有一轮时在轮末保存。",
        ),
    )
    keep_last: int | None = setting(
        2,
        gt=0,
        unit="checkpoints",
        en="How many of the newest to keep; unset means all.",
        zh="保留最新的检查点数;不设则全部保留。",
        up=("To go back further.", "想能回退更久时调大。"),
        down=("Disk is short.", "磁盘紧张时调小。"),
        cost=("Disk for each one kept.", "每个保留的检查点都占磁盘。"),
        history=(
            "TrainingArguments without save_total_limit keeps all, Axolotl 4.",
            "TrainingArguments 不写 save_total_limit 则全部保留,Axolotl 保留 4 个。",
        ),
    )
    keep_every: int | None = setting(
        None,
        gt=0,
        unit="steps",
        en="Also keep every checkpoint whose step is a multiple of this; unset keeps none beside the newest.",
        zh="另外保留步数为该值倍数的检查点;不设则只保留最新的几个。",
        up=("Disk is short.", "磁盘紧张时调大。"),
        down=("To compare stages of the run afterwards.", "事后要比较训练各阶段时调小。"),
        cost=("Disk for each one kept.", "每个保留的检查点都占磁盘。"),
    )
    asynchronous: bool = setting(
        False,
        en="Write checkpoints while training goes on, from a copy in the CPU's memory; with one process.",
        zh="先把状态复制到内存,再在训练继续的同时写入检查点;限单进程。",
        up=("Saving takes a noticeable share of the time.", "保存占用时间过多时开启。"),
        down=("Memory is short.", "内存不足时关闭。"),
        cost=(
            "Memory for a second copy of trained weights and optimiser state while it is written.",
            "写入期间内存中多一份参训权重与优化器状态。",
        ),
    )
    weights_only: bool = setting(
        False,
        en="Save no optimiser state; such a checkpoint cannot be resumed.",
        zh="不保存优化器状态,因此不能续训。",
        up=("Only the weights will be used.", "只需要权重时开启。"),
        down=("The run may be interrupted.", "可能中断时关闭。"),
        cost=("A third of the disk.", "磁盘约为三分之一。"),
    )
    resume: str = setting(
        "auto",
        en="auto goes on from the newest whole checkpoint of the same run; never starts anew; a path names one.",
        zh="auto 从同一任务最新的完整检查点继续;never 重新开始;也可写检查点路径。",
        up=("A path to go back to an earlier one.", "想回到更早检查点时写路径。"),
        down=("auto otherwise.", "否则用 auto。"),
        history=(
            "Trainer never read resume_from_checkpoint by itself; each script had to pass it. ChatGLM3's “no” trains nothing at all, although its help says restart.",
            "Trainer 自身从不读取 resume_from_checkpoint,须由脚本传入。ChatGLM3 的 no 实际上完全不训练,尽管帮助写的是重新开始。",
        ),
    )
