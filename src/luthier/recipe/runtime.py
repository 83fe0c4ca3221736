"""Where the run computes, and the knobs that change its speed and not its result."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from luthier.recipe.field import Section, setting
from luthier.recipe.kernels import Kernels


class Runtime(Section):
    """The machine's side of a run."""

    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto",
        en="Where to compute; auto takes a GPU when there is one.",
        zh="计算设备;auto 有 GPU 则用 GPU。",
        up=("cpu to debug.", "调试时用 cpu。"),
        down=("auto otherwise.", "否则用 auto。"),
    )
    threads: int | None = setting(
        None,
        gt=0,
        unit="threads",
        en="CPU threads; unset means one per core.",
        zh="CPU 线程数;不设则每核一个。",
        up=("Cores are idle.", "核心闲置时调大。"),
        down=("The machine is shared.", "与他人共用机器时调小。"),
    )
    gradient_checkpointing: bool = setting(
        False,
        en="Keep only layer inputs and compute the rest again in the backward pass (Chen et al. 2016).",
        zh="只保留每层输入,反向时重新计算其余部分。",
        up=("Activations do not fit; costs about a third more time.", "激活显存不足时开启,约多三成时间。"),
        down=("They fit.", "放得下时关闭。"),
        cost=(
            "Activations fall to one input per layer; a step takes about a third longer.",
            "激活只剩每层一份输入;每步约慢三成。",
        ),
        history=(
            "ChatGLM3's demo always has it on; transformers 5 calls it activation checkpointing.",
            "ChatGLM3 示例始终开启;transformers 5 又称 activation checkpointing。",
        ),
        misread=(
            "It has nothing to do with checkpoints on disk, and changes no result.",
            "与磁盘上的检查点无关,也不改变结果。",
        ),
    )
    checkpoint_reentrant: bool = setting(
        False,
        en="The older, reentrant form of gradient checkpointing.",
        zh="旧式可重入梯度检查点。",
        up=("An engine needs it.", "某些引擎需要时开启。"),
        down=("The newer form is preferred.", "推荐使用新形式。"),
        history=(
            "Reentrant was PyTorch's first form and Axolotl's default; under a frozen embedding it loses the gradient unless inputs are made to need one. PyTorch recommends the other form.",
            "可重入形式是 PyTorch 最早的实现,也是 Axolotl 的默认;嵌入冻结时若不让输入需要梯度,梯度会丢失。PyTorch 推荐另一种形式。",
        ),
        misread=("Reentrant saves no more memory than the other form.", "可重入形式并不更省显存。"),
    )
    checkpoint_every: int = setting(
        1,
        gt=0,
        unit="layers",
        en="Checkpoint every n-th layer.",
        zh="每 n 层做一次梯度检查点。",
        up=("Memory is left over.", "显存有余时调大。"),
        down=("1 saves most.", "1 最省显存。"),
        cost=("Every layer that is not checkpointed keeps its activations.", "未做检查点的层会保留全部激活。"),
    )
    checkpoint_offload: bool = setting(
        False,
        en="Keep what gradient checkpointing keeps in host memory.",
        zh="把梯度检查点保留的层输入移到主机内存。",
        up=("Long documents on a GPU: even layer inputs do not fit.", "GPU 上文档很长、连各层输入都放不下时开启。"),
        down=("They fit; copying there and back takes time.", "放得下时关闭,来回拷贝要花时间。"),
        cost=(
            "Saves layers x tokens x hidden numbers of GPU memory for two copies each; nothing to gain on a CPU.",
            "每层省下 词元数 x hidden 个数的显存,代价是两次拷贝;CPU 上没有收益。",
        ),
        history=(
            "Axolotl writes gradient_checkpointing: offload or activation_offloading.",
            "Axolotl 写作 gradient_checkpointing: offload 或 activation_offloading。",
        ),
        misread=(
            "It moves activations; parallel.offload_parameters and parallel.offload_optimizer move weights and state.",
            "它移动的是激活;parallel.offload_parameters 与 parallel.offload_optimizer 移动权重和优化器状态。",
        ),
    )
    compile: bool = setting(
        False,
        en="Compile the model's layers (torch.compile).",
        zh="编译模型各层(torch.compile)。",
        up=("Long runs: it takes a minute and gives 10 to 20 %.", "长训练开启,编译约一分钟,提速一到两成。"),
        down=("Short runs.", "短训练关闭。"),
        cost=(
            "Seconds to minutes at the start; 10 to 20 % less time per step.",
            "开始时多花数秒到数分钟;每步省一到两成时间。",
        ),
        misread=(
            "torchdynamo is the part of torch.compile that captures the graph, not a dynamic model.",
            "torchdynamo 是 torch.compile 中捕获计算图的部分,不是“动态模型”。",
        ),
    )
    compile_backend: str | None = setting(
        None,
        en="Backend of torch.compile.",
        zh="torch.compile 的后端。",
        up=("To try another.", "想换后端时设置。"),
        down=("Leave it out for inductor.", "默认 inductor。"),
    )
    compile_mode: str | None = setting(
        None,
        en="Mode of torch.compile.",
        zh="torch.compile 的模式。",
        up=("To search longer for faster code.", "愿意花更久换更快代码时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    deterministic: bool = setting(
        False,
        en="Refuse kernels whose result may differ from run to run.",
        zh="禁用结果可能不一致的内核。",
        up=("GPU runs must repeat bit for bit.", "GPU 上要求逐位复现时开启。"),
        down=("Speed counts; CPU runs repeat anyway.", "求速度时关闭,CPU 本就可复现。"),
        cost=("Some GPU kernels are much slower.", "部分 GPU 内核明显变慢。"),
    )
    loader_workers: int = setting(
        0,
        ge=0,
        unit="processes",
        en="Processes that collate batches ahead of the loop.",
        zh="提前整理批次的进程数。",
        up=("The loop waits for data.", "训练循环等待数据时调大。"),
        down=("0 suffices for token arrays.", "词元数组用 0 即可。"),
        cost=("Each process holds a copy of what it reads.", "每个进程各占一份读取数据的内存。"),
    )
    pin_memory: bool = setting(
        True,
        en="Use page-locked memory for copies to a GPU.",
        zh="使用锁页内存加速拷贝到 GPU。",
        up=("Nearly always.", "几乎总应开启。"),
        down=("Host memory is short.", "主机内存紧张时关闭。"),
        cost=("Host memory that cannot be swapped out.", "占用不可换出的主机内存。"),
        misread=(
            "Page-locked, not “a fixed place”: the operating system may not swap the pages out, so a GPU can copy them by itself.",
            "是锁页内存而不是“固定位置”:操作系统不得换出这些页,GPU 可直接拷贝。",
        ),
    )
    kernels: Kernels = setting(
        Kernels,
        en="Fused pieces of the model.",
        zh="模型的融合内核。",
        up=("auto picks.", "auto 自动选择。"),
        down=("auto picks.", "auto 自动选择。"),
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        en="How much the run says.",
        zh="日志详细程度。",
        up=("debug to look for a fault.", "排查问题时用 debug。"),
        down=("warning in scripts.", "脚本中用 warning。"),
        history=(
            "passive left the library's own level, warning; logging_steps has nothing to do with it.",
            "passive 表示沿用库的级别 warning;与 logging_steps 无关。",
        ),
    )
    progress: bool = setting(
        True,
        en="Show a progress bar on terminals.",
        zh="在终端显示进度条。",
        up=("Watching the run.", "观察训练时开启。"),
        down=("Logs go to a file.", "日志写入文件时关闭。"),
    )
    debug: bool = setting(
        False,
        en="Look for the layer that first makes a non-finite number.",
        zh="定位最先产生非有限值的层。",
        up=("The loss became NaN.", "损失变为 NaN 时开启。"),
        down=("It is slow.", "较慢,平时关闭。"),
        cost=("Every layer is checked in every step: much slower.", "每步检查每一层,慢很多。"),
    )
    environment: dict[str, JsonValue] = setting(
        dict,
        en="Notes on the machine that the recipe was written for; kept, not used.",
        zh="配方所属机器的备注,仅保留不使用。",
        up=("Never by hand.", "无需手写。"),
        down=("Leave it empty.", "留空。"),
    )
