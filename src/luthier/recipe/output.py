"""What the run leaves behind."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, Size, setting


class Hub(Section):
    """Publishing the result on the hub."""

    push: bool = setting(
        False,
        en="Upload the result.",
        zh="上传结果。",
        up=("Others should use it.", "供他人使用时开启。"),
        down=("It stays here.", "仅本地使用时关闭。"),
    )
    repository: str | None = setting(
        None,
        en="Repository to upload to, as owner/name.",
        zh="上传到的仓库(owner/name)。",
        up=("With push.", "开启 push 时设置。"),
        down=("Without.", "否则留空。"),
    )
    private: bool | None = setting(
        None,
        en="Whether a new repository is private; unset leaves it to the hub.",
        zh="新仓库是否私有;不设则由 hub 决定。",
        up=("The data were private.", "数据私密时开启。"),
        down=("It is meant for all.", "面向公众时关闭。"),
    )
    strategy: Literal["end", "every_save", "checkpoint", "all_checkpoints"] = setting(
        "end",
        en="When to upload.",
        zh="上传时机。",
        up=("every_save when the machine may vanish.", "机器可能丢失时用 every_save。"),
        down=("end otherwise.", "否则用 end。"),
        history=("TrainingArguments' own default is every_save.", "TrainingArguments 默认 every_save。"),
    )
    revision: str | None = setting(
        None,
        en="Branch to upload to.",
        zh="上传到的分支。",
        up=("main must stay as it is.", "不想改动 main 时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    always: bool = setting(
        False,
        en="Upload even while an earlier upload is still going on.",
        zh="即使上一次上传未完成也继续上传。",
        up=("Every checkpoint must arrive.", "每个检查点都必须上传时开启。"),
        down=("The newest suffices.", "只需最新时关闭。"),
    )


class Output(Section):
    """The run's folder and the form of the result."""

    dir: str = setting(
        "runs/run",
        en="Folder of the run: events, checkpoints, model, report.",
        zh="任务目录:事件、检查点、模型、报告。",
        up=("Always name one.", "建议总是指定。"),
        down=("Two runs never share one.", "两个任务不可共用。"),
        history=(
            "Firefly writes the result into it, older Firefly into its folder final; ChatGLM3 leaves only checkpoints.",
            "Firefly 把结果写入其中,旧版写入其 final 目录;ChatGLM3 只留下检查点。",
        ),
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        en="Type the result is saved in; auto is the base model's.",
        zh="结果的保存精度;auto 与基座相同。",
        up=("fp32 to train on.", "还要继续训练时用 fp32。"),
        down=("bf16 to serve.", "部署用 bf16。"),
        cost=("4 bytes per weight in fp32, 2 in bf16 and fp16.", "fp32 每个权重 4 字节,bf16 与 fp16 为 2 字节。"),
    )
    shard_size: Size = setting(
        "5GB",
        en="Largest weight file.",
        zh="单个权重文件的上限。",
        up=("Fewer files.", "想要更少文件时调大。"),
        down=("The upload breaks off.", "上传易中断时调小。"),
    )
    merge: bool = setting(
        False,
        en="Save the adapter merged into the base as well.",
        zh="另存一份合并适配器后的完整模型。",
        up=("It will be served alone.", "单独部署时开启。"),
        down=("The adapter suffices.", "只需适配器时关闭。"),
        cost=("Disk for the whole model.", "占用整个模型大小的磁盘。"),
    )
    hub: Hub = setting(
        Hub,
        en="Publishing on the hub.",
        zh="发布到 hub。",
        up=("See its fields.", "见各字段。"),
        down=("See its fields.", "见各字段。"),
    )
