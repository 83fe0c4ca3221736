"""How the learning rate moves over the run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, JsonValue

from luthier.recipe.field import Part, Section, setting


def _check_part(value: int | float | None) -> int | float | None:
    if isinstance(value, float) and value >= 1:
        raise ValueError("a share lies below 1; a number is written without a point")
    return value


PartOrRest = Annotated[int | float | None, AfterValidator(_check_part)]
"""So many (int), a share of the whole (float below 1), or what is left (null)."""


FOLLOWING = ("reduce_lr_on_plateau", "greedy")
"""Kinds that go by how evaluations turn out."""

RISING = ("one_cycle", "log_sweep")
"""Kinds that use the steps of warm-up, and rise in their own way."""

DEEPSPEED = ("warmup_lr", "warmup_decay_lr", "warmup_cosine_lr")
"""DeepSpeed's own schedules, whose warm-up comes a step late."""

WHOLE = (*RISING, *DEEPSPEED)
"""Kinds that are no curve behind a warm-up."""


class Schedule(Section):
    """Warm-up, then a curve."""

    kind: str = setting(
        "cosine",
        en="The curve after warm-up: cosine, linear, constant, others of luthier explain, or module:attribute.",
        zh="预热后的曲线:cosine、linear、constant、luthier explain 列出的其他曲线,或 module:attribute。",
        up=(
            "constant to go on later; reduce_lr_on_plateau to fall when an evaluation metric (evaluate.best_metric) no longer gets better.",
            "打算续训时用 constant;希望评估指标(evaluate.best_metric)不再改善时才下降则用 reduce_lr_on_plateau。",
        ),
        down=("cosine or linear end lower.", "cosine、linear 末期损失更低。"),
        history=(
            "cosine_with_min_lr is cosine with a minimum here, constant_with_warmup is constant with warm-up; plain constant had no warm-up upstream; cosine_warmup_with_min_lr is one step ahead. A scheduler block in a DeepSpeed file replaces lr_scheduler_type: WarmupLR (here warmup_lr) warms up logarithmically, then stays constant; its engine takes the first rate twice. rex has Chen's beta of 1/2, Axolotl's has 0.9.",
            "cosine_with_min_lr 即此处带 minimum 的 cosine,constant_with_warmup 即带预热的 constant;上游的 constant 没有预热;cosine_warmup_with_min_lr 提前一步。DeepSpeed 文件中的 scheduler 会取代 lr_scheduler_type:WarmupLR(此处为 warmup_lr)先对数预热,再保持不变;其引擎会把第一个学习率用两步。rex 的 beta 按原论文为 1/2,Axolotl 为 0.9。",
        ),
        misread=(
            "A falling rate lets the run settle at its end. It is no cure for overfitting and helps out of no “local minimum”.",
            "学习率下降是为了让训练末期收敛稳定;它不是防止过拟合的手段,也不是用来“逃离局部最小值”。",
        ),
    )
    warmup_steps: int | None = setting(
        None,
        ge=0,
        unit="steps",
        en="Steps of warm-up; wins over warmup_share.",
        zh="预热步数,优先于 warmup_share。",
        up=("The first steps are unstable.", "起步不稳定时调大。"),
        down=("Short runs.", "短训练时调小。"),
        history=(
            "Above 0 it wins over warmup_ratio; since transformers 5 a value below 1 is the ratio. Axolotl without either takes 3 % of the steps, 100 at most.",
            "大于 0 时优先于 warmup_ratio;transformers 5 起小于 1 即为比例。Axolotl 两者都不写时取总步数的 3%,至多 100 步。",
        ),
        misread=(
            "It counts optimiser steps, not epochs and not micro-batches; 100 may be longer than a short packed run.",
            "它数的是优化步,不是轮数也不是微批;100 步可能比一次打包后的短训练还长。",
        ),
    )
    warmup_share: float = setting(
        0.03,
        ge=0,
        lt=1,
        unit="share",
        en="Share of the run that is warm-up.",
        zh="预热占总步数的比例。",
        up=("From scratch, or with a high learning rate.", "从零训练或高学习率时调大。"),
        down=("Adapters start at zero and need little.", "适配器从零起步,可调小。"),
        history=(
            "warmup_ratio; gone from transformers 5, where warmup_steps below 1 says it. Rounded up to whole steps.",
            "即 warmup_ratio;transformers 5 已移除,改由小于 1 的 warmup_steps 表示。向上取整为步数。",
        ),
    )
    warmup: Literal["linear", "log", "cosine", "1-sqrt"] = setting(
        "linear",
        en="How warm-up rises: linear, log (fast at first), cosine or 1-sqrt (slow at first).",
        zh="预热的上升方式:linear(线性)、log(先快后慢)、cosine(余弦)或 1-sqrt(先慢后快)。",
        up=("A DeepSpeed or WSD schedule is repeated.", "复现 DeepSpeed 或 WSD 调度时设置。"),
        down=("Leave it linear otherwise.", "否则保持 linear。"),
        history=(
            "DeepSpeed's warmup_type, log unless told otherwise: log(step + 1) / log(steps), one step before its end at the peak.",
            "即 DeepSpeed 的 warmup_type,默认为 log:log(步 + 1) / log(步数),结束前一步即达峰值。",
        ),
    )
    warmup_from: float = setting(
        0.0,
        ge=0,
        le=1,
        unit="share of lr",
        en="Where warm-up starts, as a share of the peak.",
        zh="预热起点占峰值学习率的比例。",
        up=("The first step should already learn.", "希望第一步就开始学习时调大。"),
        down=("0 by custom.", "通常为 0。"),
        history=(
            "warmup_min_ratio in DeepSpeed; its warmup_min_lr is a rate. WSD upstream starts at its minimum.",
            "即 DeepSpeed 的 warmup_min_ratio;其 warmup_min_lr 是学习率。上游的 WSD 从其最小值开始。",
        ),
    )
    minimum: float = setting(
        0.0,
        ge=0,
        le=1,
        unit="share of lr",
        en="Where the curve ends, as a share of the peak.",
        zh="曲线终点占峰值学习率的比例。",
        up=("Training will go on from the result: 0.1.", "结果还要继续训练时取 0.1。"),
        down=("0 for the last run.", "最后一次训练取 0。"),
        history=(
            "cosine_min_lr_ratio in Axolotl; min_lr and lr_end upstream are rates, not shares. eta_min is passed over there.",
            "Axolotl 中为 cosine_min_lr_ratio;上游的 min_lr、lr_end 是学习率而非比例;eta_min 会被其忽略。",
        ),
    )
    cycles: float = setting(
        0.5,
        gt=0,
        unit="cycles",
        en="Waves of a cosine: 0.5 goes down once; of cosine_with_restarts, descents from the peak.",
        zh="余弦周期数,0.5 表示单次下降;对 cosine_with_restarts 则是从峰值下降的次数。",
        up=("With restarts.", "需要重启时调大。"),
        down=("Rarely.", "很少需要。"),
    )
    power: float = setting(
        1.0,
        gt=0,
        en="Exponent of a polynomial curve.",
        zh="多项式曲线的指数。",
        up=("To fall early.", "想更早下降时调大。"),
        down=("To fall late.", "想更晚下降时调小。"),
    )
    stable: PartOrRest = setting(
        None,
        ge=0,
        unit="steps, share of the run",
        en="Of warmup_stable_decay: steps, or share of the run, at the peak; null is all that decay leaves.",
        zh="warmup_stable_decay 保持峰值的步数或占全程的比例;null 表示衰减以外的全部。",
        up=("The rest of the run stays at the minimum.", "剩余步数需停在最小值时设置。"),
        down=("Null: no step is left over.", "留 null 则没有剩余步数。"),
        history=(
            "num_stable_steps; MiniCPM's schedule, which can go on from its stable part.",
            "即 num_stable_steps;源自 MiniCPM 的调度,可从稳定段续训。",
        ),
    )
    decay: Part = setting(
        0.1,
        ge=0,
        unit="steps, share of the run",
        en="Of warmup_stable_decay: steps, or share of the run, that go down to the minimum.",
        zh="warmup_stable_decay 衰减到最小值的步数或占全程的比例。",
        up=("A short run.", "训练较短时调大。"),
        down=("The stable part should be long.", "希望稳定段更长时调小。"),
        history=("num_decay_steps, always a number of steps.", "即 num_decay_steps,总是步数。"),
    )
    args: dict[str, JsonValue] = setting(
        dict,
        en="Further constants: timescale (inverse_sqrt), decay_type (warmup_stable_decay), beta (rex), warmup_lr_rate, min_lr and max_lr (log_sweep), those of PyTorch's OneCycleLR (one_cycle) and ReduceLROnPlateau, and of transformers' GreedyLR (greedy).",
        zh="曲线的其他参数:timescale(inverse_sqrt)、decay_type(warmup_stable_decay)、beta(rex)、warmup_lr_rate、min_lr 与 max_lr(log_sweep),以及 PyTorch OneCycleLR(one_cycle)、ReduceLROnPlateau 与 transformers GreedyLR(greedy)的参数。",
        up=("The curve has constants of its own.", "曲线有专属参数时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )

    @property
    def follows_evaluations(self) -> bool:
        """Whether the rate goes by ``evaluate.best_metric``."""
        return self.kind in FOLLOWING
