"""How the model is measured during and after training."""

from __future__ import annotations

from luthier.recipe.field import Every, Section, setting


class Generation(Section):
    """How answers are generated."""

    max_new_tokens: int = setting(
        128,
        gt=0,
        unit="tokens",
        en="Longest answer.",
        zh="回答的最大词元数。",
        up=("Answers are cut off.", "回答被截断时调大。"),
        down=("Answers are short; it bounds the time.", "回答很短时调小以省时间。"),
        cost=("Time grows in proportion.", "耗时成正比增长。"),
    )
    min_new_tokens: int = setting(
        0,
        ge=0,
        unit="tokens",
        en="Shortest answer: no end token before it.",
        zh="回答的最小词元数,此前不会生成结束词元。",
        up=("Answers end too soon.", "回答过早结束时调大。"),
        down=("0 lets the model end where it will.", "0 表示由模型自行结束。"),
    )
    max_prompt_length: int | None = setting(
        None,
        gt=0,
        unit="tokens",
        en="Questions with a longer prompt are not asked; unset asks all.",
        zh="提示超过该词元数的问题不提问;不设则全部提问。",
        up=("Long conversations should be asked too.", "也要评估长对话时调大。"),
        down=("Long prompts take too much time or memory.", "长提示过慢或占用过多时调小。"),
        history=(
            "max_input_length of ChatGLM3's demo, which asked no turn beyond it.",
            "即 ChatGLM3 示例的 max_input_length,超出的回合不会被提问。",
        ),
    )
    temperature: float = setting(
        0.0,
        ge=0,
        en="0 takes the likeliest token; above, samples.",
        zh="0 取最可能的词元,大于 0 则采样。",
        up=("Variety is wanted.", "需要多样性时调大。"),
        down=("Answers must repeat.", "要求可复现时取 0。"),
    )
    top_p: float = setting(
        1.0,
        gt=0,
        le=1,
        unit="share",
        en="Sample from the likeliest tokens of this total probability.",
        zh="在累计概率达到该值的词元中采样。",
        up=("More variety.", "更多样时调大。"),
        down=("Fewer slips.", "更稳妥时调小。"),
    )
    top_k: int = setting(
        0,
        ge=0,
        unit="tokens",
        en="Sample from the k likeliest tokens; 0 means all.",
        zh="在最可能的 k 个词元中采样,0 表示不限。",
        up=("More variety.", "更多样时调大。"),
        down=("Fewer slips.", "更稳妥时调小。"),
    )
    repetition_penalty: float = setting(
        1.0,
        gt=0,
        en="Above 1 makes tokens seen before less likely.",
        zh="大于 1 时降低已出现词元的概率。",
        up=("It repeats itself.", "回答重复时调大。"),
        down=("1 changes nothing.", "1 表示不改变。"),
    )
    beams: int = setting(
        1,
        gt=0,
        unit="beams",
        en="Beams of beam search.",
        zh="束搜索的束数。",
        up=("Translation-like tasks.", "翻译类任务可调大。"),
        down=("1 is greedy.", "1 即贪心。"),
        cost=("Time and cache grow in proportion.", "耗时与缓存成正比增长。"),
    )
    length_penalty: float = setting(
        1.0,
        ge=-10,
        en="Power of its length that a beam's log-likelihood is divided by; of use with beams alone.",
        zh="束的对数似然除以其长度的该次幂;仅束搜索时有用。",
        up=("Answers are too short.", "回答过短时调大。"),
        down=("Answers ramble; below 0 short ones win.", "回答冗长时调小,小于 0 偏好短回答。"),
    )


class Evaluate(Section):
    """When, on what and by what the model is measured."""

    every: Every = setting(
        "epoch",
        unit="steps, share of the run",
        en="When to evaluate: n steps, a share of the run below 1, epoch, or never.",
        zh="评估时机:步数、小于 1 的总进度比例、epoch 或 never。",
        up=("It costs too much time.", "评估太耗时则调大间隔。"),
        down=("Early stopping should react sooner.", "希望更早停止时调小间隔。"),
        cost=("Each time one forward pass over the evaluation rows.", "每次对验证数据做一遍前向。"),
        history=(
            "evaluation_strategy became eval_strategy in transformers 4.41, and the old name is an error in 5. eval_steps unset means logging_steps. Axolotl's evals_per_epoch counts per epoch.",
            "transformers 4.41 起 evaluation_strategy 改名 eval_strategy,5 中旧名报错;eval_steps 不写即取 logging_steps。Axolotl 的 evals_per_epoch 按每轮次数计。",
        ),
    )
    at_start: bool = setting(
        False,
        en="Evaluate before the first step.",
        zh="首步之前先评估一次。",
        up=("To compare before and after.", "需要前后对比时开启。"),
        down=("Only the result counts.", "只关心结果时关闭。"),
    )
    delay: float = setting(
        0.0,
        ge=0,
        unit="steps or epochs",
        en="No evaluation before this many of every's own units.",
        zh="在此之前不评估(单位与 every 相同)。",
        up=("Early figures say nothing.", "早期数值无意义时调大。"),
        down=("0 from the start.", "0 表示从头开始。"),
    )
    rows: int | None = setting(
        None,
        gt=0,
        unit="rows",
        en="At most this many evaluation rows.",
        zh="最多使用的验证行数。",
        up=("Figures are noisy.", "数值波动大时调大。"),
        down=("It takes too long.", "太慢时调小。"),
        history=("ChatGLM3's demo takes the first 50 turns.", "ChatGLM3 示例只取前 50 个回合。"),
    )
    generate: bool = setting(
        False,
        en="Answer data.test by generation, one question for each answer in a row: before the first step (with at_start) and at the end.",
        zh="用生成方式回答 data.test(样本中的每个回答各成一问):训练前(需 at_start)与结束时。",
        up=("The answers matter, not the loss.", "看重实际回答时开启。"),
        down=("Generation is slow.", "生成较慢,可关闭。"),
        cost=(
            "One forward pass per generated token: often longer than training on a small set.",
            "每生成一个词元做一次前向;数据少时常比训练还久。",
        ),
        history=(
            "predict_with_generate; ChatGLM3's demo cannot evaluate without it.",
            "即 predict_with_generate;ChatGLM3 示例缺了它无法评估。",
        ),
    )
    generate_during: bool = setting(
        False,
        en="Answer the evaluation rows, named or held out, by generation too, at each evaluation: one question for each answer in a row.",
        zh="每次评估时也用生成方式回答验证数据(指定的或留出的):样本中的每个回答各成一问。",
        up=(
            "To watch the answers grow better, as predict_with_generate did.",
            "想像 predict_with_generate 那样观察回答变化时开启。",
        ),
        down=("Loss says it at a hundredth of the cost.", "损失的开销只有其百分之一,平时关闭。"),
        cost=(
            "Each new token is a forward pass of its own: often longer than the steps between two evaluations.",
            "每个新词元都要单独前向一次,往往比两次评估之间的训练还久。",
        ),
    )
    generation: Generation = setting(
        Generation,
        en="How answers are generated.",
        zh="生成设置。",
        up=("See its fields.", "见各字段。"),
        down=("See its fields.", "见各字段。"),
    )
    metrics: tuple[str, ...] = setting(
        ("exact_match",),
        en="Metrics of generated answers, by name or module:attribute.",
        zh="生成回答的评价指标,名称或 module:attribute。",
        up=("Several views of the answers are wanted.", "需要多角度评价时增加。"),
        down=("One is enough to choose by.", "选择时一个即可。"),
    )
    best_metric: str = setting(
        "loss",
        en="What the best checkpoint and early stopping go by: loss, a figure of the objective (rewards/accuracies), or one of metrics with generate_during.",
        zh="选最佳检查点与早停所依据的指标:loss、训练目标自身的指标(如 rewards/accuracies),或 metrics 之一(需开启 generate_during)。",
        up=("Another metric is the goal.", "目标是其他指标时设置。"),
        down=("loss otherwise.", "否则用 loss。"),
    )
    higher_is_better: bool = setting(
        False,
        en="Whether best_metric should grow.",
        zh="best_metric 是否越大越好。",
        up=("Accuracy-like metrics.", "准确率类指标开启。"),
        down=("Loss-like metrics.", "损失类指标关闭。"),
    )
    patience: int | None = setting(
        None,
        gt=0,
        unit="evaluations",
        en="Stop after this many evaluations without improvement.",
        zh="连续多少次评估无改善则早停。",
        up=("Figures are noisy.", "数值波动大时调大。"),
        down=("To stop sooner; unset never stops.", "想更早停止时调小;不设则不停。"),
        misread=("It counts evaluations, not epochs or steps.", "它数的是评估次数,不是轮数或步数。"),
    )
    threshold: float = setting(
        0.0,
        ge=0,
        en="What counts as an improvement.",
        zh="算作改善的最小幅度。",
        up=("Tiny gains should not count.", "忽略微小改善时调大。"),
        down=("Any gain counts.", "任何改善都算时取 0。"),
    )
    keep_best: bool = setting(
        False,
        en="End with the weights of the best evaluation rather than the last; each improvement is saved, the best one kept.",
        zh="结束时采用验证最佳而非最后的权重;每次改善都会保存,最佳检查点不会被删除。",
        up=("The end may be overfitted.", "末期可能过拟合时开启。"),
        down=("The schedule ends at its best.", "调度末期最佳时关闭。"),
        cost=("Disk for one more checkpoint.", "多占一个检查点的磁盘。"),
        history=(
            "load_best_model_at_end, which wants saves and evaluations at the same steps.",
            "即 load_best_model_at_end,它要求保存与验证在同一步。",
        ),
    )
    table_rows: int = setting(
        8,
        ge=0,
        unit="rows",
        en="Generated answers shown in tables and the report.",
        zh="表格与报告中展示的生成样例数。",
        up=("To read more of them.", "想多看样例时调大。"),
        down=("0 shows none.", "0 表示不展示。"),
    )

    @property
    def generates(self) -> bool:
        """Whether any rows are answered by generation."""
        return self.generate or self.generate_during

    @property
    def goes_by_metric(self) -> bool:
        """Whether anything goes by ``best_metric``."""
        return self.keep_best or self.patience is not None
