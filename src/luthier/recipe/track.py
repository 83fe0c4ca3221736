"""Who is told about the run."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from luthier.recipe.field import Part, Section, setting


class Track(Section):
    """The run's events always go to its folder; these are others to tell."""

    to: tuple[str, ...] = setting(
        (),
        en="Trackers: tensorboard, wandb, mlflow, swanlab, trackio, comet.",
        zh="实验跟踪工具:tensorboard、wandb、mlflow、swanlab、trackio、comet。",
        up=("A team looks there.", "团队使用时设置。"),
        down=("The report suffices.", "报告已足够时留空。"),
        history=(
            "report_to once told every tracker installed unless it was none; Axolotl turns W&B on by wandb_project.",
            "report_to 过去不写则启用全部已安装的工具;Axolotl 写了 wandb_project 即启用 W&B。",
        ),
        misread=("W&B and a shell's redirection (tee) do not exclude each other.", "W&B 与命令行重定向(tee)并不冲突。"),
    )
    project: str | None = setting(
        None,
        en="Project the run is filed under.",
        zh="任务所属项目。",
        up=("The tracker groups runs.", "跟踪工具按项目归类时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    entity: str | None = setting(
        None,
        en="Person or team the project belongs to.",
        zh="项目所属个人或团队。",
        up=("Not your default one.", "不是默认账户时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    name: str | None = setting(
        None,
        en="Name of the run; unset means the output folder's.",
        zh="任务名称;不设则取输出目录名。",
        up=("Folders are not telling.", "目录名无意义时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    run_id: str | None = setting(
        None,
        en="The tracker's own id of a run to go on with.",
        zh="要续接的跟踪任务编号。",
        up=("Resuming elsewhere.", "在别处续训时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    every: Part = setting(
        1,
        gt=0,
        unit="steps, share of the run",
        en="Write a step record every n steps, or at this share of the run below 1.",
        zh="每 n 步(或小于 1 的进度比例)记录一次。",
        up=("Very long runs.", "超长训练时调大。"),
        down=("1 misses nothing.", "1 不遗漏任何一步。"),
    )
    first_step: bool = setting(
        True,
        en="Always record the first step.",
        zh="总是记录第一步。",
        up=("To see the starting loss.", "想看初始损失时开启。"),
        down=("To repeat old logs.", "复现旧日志时关闭。"),
    )
    hide_nonfinite: bool = setting(
        False,
        en="Leave NaN and Inf out of trackers' curves; the run's own log never hides them.",
        zh="跟踪曲线中略去 NaN/Inf;自身日志从不隐藏。",
        up=("A tracker cannot draw them.", "跟踪工具无法绘制时开启。"),
        down=("To see everything.", "想看全部时关闭。"),
        misread=(
            "logging_nan_inf_filter filters the log alone: training goes on with the NaN.",
            "logging_nan_inf_filter 只过滤日志:训练仍带着 NaN 继续。",
        ),
    )
    watch: Literal["gradients", "parameters", "all"] | None = setting(
        None,
        en="What W&B watches: gradients, parameters or all.",
        zh="W&B 监视内容:gradients、parameters 或 all。",
        up=("Gradients are suspect.", "怀疑梯度异常时设置。"),
        down=("It costs time.", "有额外开销,平时留空。"),
        cost=(
            "Histograms of every gradient or weight: slow, and much to upload.",
            "记录全部梯度或权重的直方图,较慢且上传量大。",
        ),
    )
    log_model: Literal["checkpoint", "end"] | None = setting(
        None,
        en="Upload weights to the tracker: checkpoint or end.",
        zh="上传权重到跟踪工具:checkpoint 或 end。",
        up=("The tracker is the archive.", "以跟踪工具作归档时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
        cost=("An upload of the weights.", "需上传权重。"),
    )
    dir: str | None = setting(
        None,
        en="Where trackers write locally; unset means below the run's folder.",
        zh="跟踪工具的本地目录;不设则在任务目录下。",
        up=("They share a place.", "需要共享位置时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    tags: tuple[str, ...] = setting(
        (),
        en="Tags of the run.",
        zh="任务标签。",
        up=("To find it again.", "便于检索时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
    options: dict[str, JsonValue] = setting(
        dict,
        en="A tracker's own settings.",
        zh="跟踪工具自身的设置。",
        up=("It needs settings that have no field.", "需要没有对应字段的设置时填写。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
