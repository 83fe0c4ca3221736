"""How the learning rate moves over the run."""

from __future__ import annotations

from pydantic import JsonValue

from luthier.recipe.field import Section, setting


class Schedule(Section):
    """Warm-up, then a curve."""

    kind: str = setting(
        "cosine",
        en="The curve after warm-up: cosine, linear, constant, or module:attribute.",
        zh="预热后的曲线:cosine、linear、constant,或 module:attribute。",
        up=("constant to go on later.", "打算续训时用 constant。"),
        down=("cosine or linear end lower.", "cosine、linear 末期损失更低。"),
    )
    warmup_steps: int | None = setting(
        None,
        ge=0,
        unit="steps",
        en="Steps of linear warm-up; wins over warmup_share.",
        zh="线性预热步数,优先于 warmup_share。",
        up=("The first steps are unstable.", "起步不稳定时调大。"),
        down=("Short runs.", "短训练时调小。"),
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
    )
    cycles: float = setting(
        0.5,
        gt=0,
        unit="cycles",
        en="Waves of a cosine: 0.5 goes down once.",
        zh="余弦周期数,0.5 表示单次下降。",
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
    args: dict[str, JsonValue] = setting(
        dict,
        en="Further constants of the curve.",
        zh="曲线的其他参数。",
        up=("The curve has constants of its own.", "曲线有专属参数时设置。"),
        down=("Leave it empty otherwise.", "否则留空。"),
    )
