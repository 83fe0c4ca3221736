"""How several devices share the work."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from luthier.recipe.field import Section, setting


class Parallel(Section):
    """The engine, and how it shards."""

    engine: Literal["auto", "single", "ddp", "fsdp", "deepspeed"] = setting(
        "auto",
        en="auto is single on one process and ddp on several.",
        zh="auto:单进程用 single,多进程用 ddp。",
        up=("fsdp or deepspeed when the model does not fit.", "单卡放不下时用 fsdp 或 deepspeed。"),
        down=("ddp is fastest when it fits.", "放得下时 ddp 最快。"),
        cost=(
            "ddp holds everything once per device; fsdp and deepspeed share it out and send more.",
            "ddp 每设备各存一份;fsdp 与 deepspeed 分片存放,通信更多。",
        ),
    )
    stage: Literal[0, 1, 2, 3] = setting(
        0,
        en="What is sharded: 1 optimiser, 2 and gradients, 3 and weights (ZeRO, Rajbhandari et al. 2020).",
        zh="分片级别:1 优化器状态,2 加梯度,3 加权重(ZeRO)。",
        up=("Memory is short.", "显存不足时调大。"),
        down=("The network is slow.", "网络慢时调小。"),
        cost=(
            "On N devices the optimiser state (1), the gradients too (2), the weights too (3) are divided by N; stage 3 sends half as much again.",
            "N 个设备时,优化器状态(1)、加梯度(2)、加权重(3)均除以 N;第 3 级通信量增加一半。",
        ),
        history=(
            "DeepSpeed's stages; FSDP's FULL_SHARD is 3, SHARD_GRAD_OP 2, NO_SHARD 0.",
            "源自 DeepSpeed;FSDP 的 FULL_SHARD 即 3,SHARD_GRAD_OP 即 2,NO_SHARD 即 0。",
        ),
    )
    offload_optimizer: bool = setting(
        False,
        en="Keep optimiser state in host memory.",
        zh="优化器状态放到主机内存。",
        up=("It does not fit otherwise.", "放不下时开启。"),
        down=("Speed counts.", "求速度时关闭。"),
        cost=(
            "Frees 8 bytes per trained parameter on the device; each step waits for host memory.",
            "设备上每个参训参数省 8 字节;每步需等待主机内存。",
        ),
    )
    offload_parameters: bool = setting(
        False,
        en="Keep sharded weights in host memory.",
        zh="分片权重放到主机内存。",
        up=("It does not fit otherwise.", "放不下时开启。"),
        down=("Speed counts.", "求速度时关闭。"),
        cost=(
            "Only the layer at work is on the device; each pass waits for host memory.",
            "设备上只保留正在计算的层;每次计算都要等待主机内存。",
        ),
    )
    wrap: tuple[str, ...] = setting(
        (),
        en="Layer classes that FSDP shards as units; empty means the decoder layers.",
        zh="FSDP 的分片单元类名;空表示解码层。",
        up=("The model names them unusually.", "模型层名特殊时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
    deepspeed: str | None = setting(
        None,
        en="A DeepSpeed JSON file.",
        zh="DeepSpeed JSON 文件。",
        up=("The recipe has one.", "配方自带时设置。"),
        down=("The fields here say the same.", "可用本节字段代替。"),
        history=(
            "In ChatGLM3 the path is relative to where one stands, not to the recipe.",
            "ChatGLM3 中路径相对于当前目录,而不是配方所在目录。",
        ),
    )
    deepspeed_config: dict[str, JsonValue] = setting(
        dict,
        en="What that file says, and settings beyond this section.",
        zh="该文件的内容及本节之外的设置。",
        up=("To reach a knob that has no field.", "需要没有对应字段的开关时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
    fsdp_config: dict[str, JsonValue] = setting(
        dict,
        en="FSDP settings beyond this section.",
        zh="本节之外的 FSDP 设置。",
        up=("To reach a knob that has no field.", "需要没有对应字段的开关时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
    ddp: dict[str, JsonValue] = setting(
        dict,
        en="DDP's own settings: bucket_cap_mb, find_unused_parameters, broadcast_buffers.",
        zh="DDP 自身设置。",
        up=("Some parameters get no gradient in some steps.", "部分参数某些步没有梯度时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
        misread=(
            "bucket_cap_mb is how many megabytes of gradients are sent together, not a largest message.",
            "bucket_cap_mb 是一起发送的梯度桶大小(MB),不是消息上限。",
        ),
    )
    tensor: int = setting(
        1,
        gt=0,
        unit="devices",
        en="Devices that share each matrix.",
        zh="张量并行的设备数。",
        up=("One layer does not fit.", "单层放不下时调大。"),
        down=("1 otherwise.", "否则取 1。"),
    )
    context: int = setting(
        1,
        gt=0,
        unit="devices",
        en="Devices that share each sequence.",
        zh="上下文并行的设备数。",
        up=("One sequence does not fit.", "单条序列放不下时调大。"),
        down=("1 otherwise.", "否则取 1。"),
    )
    backend: str | None = setting(
        None,
        en="Communication backend; unset means nccl on GPUs, gloo on CPUs.",
        zh="通信后端;不设则 GPU 用 nccl,CPU 用 gloo。",
        up=("The fabric needs another.", "网络需要其他后端时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    timeout: int = setting(
        1800,
        gt=0,
        unit="seconds",
        en="How long a rank waits for the others.",
        zh="进程间等待的超时时间。",
        up=("Rank 0 prepares for long.", "0 号进程准备时间长时调大。"),
        down=("To notice a dead rank sooner.", "想更快发现掉线进程时调小。"),
    )
