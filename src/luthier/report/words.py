"""Every fixed word of the page, in English and Chinese. Both stand in the page; a button shows one of them."""

from __future__ import annotations

from luthier.report.markup import Content, Html, escaped, joined, tag

WORDS: dict[str, tuple[str, str]] = {
    # the head
    "training report": ("Training report", "训练报告"),
    "other language": ("中文", "English"),
    "unknown model": ("a model", "模型"),
    "from scratch": ("a new model", "全新模型"),
    "all weights": ("all weights", "全参训练"),
    "adapter": ("{kind} adapter", "{kind} 适配器"),
    "lora": ("LoRA of rank {rank}", "秩 {rank} 的 LoRA"),
    "dora": ("DoRA of rank {rank}", "秩 {rank} 的 DoRA"),
    "in bits": ("{bits}-bit base", "{bits} 比特基座"),
    "done": (
        "Finished: all {planned} planned steps in {seconds}.",
        "已完成：计划的 {planned} 步全部执行，用时 {seconds}。",
    ),
    "done early": (
        "Finished by {reason} after {done} of {planned} planned steps in {seconds}.",
        "因{reason}结束：计划 {planned} 步，执行 {done} 步，用时 {seconds}。",
    ),
    "not done": (
        "Not finished: {done} of {planned} planned steps in {seconds}.",
        "尚未完成：计划 {planned} 步，已执行 {done} 步，用时 {seconds}。",
    ),
    "stopped": (
        "Not finished: {done} of {planned} planned steps in {seconds}, then: {reason}",
        "尚未完成：计划 {planned} 步，已执行 {done} 步，用时 {seconds}，随后：{reason}",
    ),
    "reason early stopping": ("early stopping", "早停"),
    "reason steps": ("the step limit", "步数上限"),
    "begun on": ("Started {moment} on {device}", "开始于 {moment}，设备 {device}"),
    "from first": ("from {value} at the first step", "首步为 {value}"),
    "from first evaluation": ("from {value} at step {step}", "第 {step} 步为 {value}"),
    "best at": ("best {value} at step {step}", "最佳 {value}（第 {step} 步）"),
    "from before": ("from {value} before training", "训练前为 {value}"),
    "of rows": ("on {rows} rows", "共 {rows} 行"),
    # methods
    "method pretrain": ("Pretraining", "预训练"),
    "method sft": ("Supervised fine-tuning", "监督微调"),
    "method dpo": ("DPO preference tuning", "DPO 偏好训练"),
    "method ipo": ("IPO preference tuning", "IPO 偏好训练"),
    "method kto": ("KTO preference tuning", "KTO 偏好训练"),
    "method orpo": ("ORPO preference tuning", "ORPO 偏好训练"),
    "method simpo": ("SimPO preference tuning", "SimPO 偏好训练"),
    "method cpo": ("CPO preference tuning", "CPO 偏好训练"),
    "method reward": ("Reward modelling", "奖励模型训练"),
    "training": ("Training", "训练"),
    # answers
    "answers": ("Before and after", "训练前后对比"),
    "answers only": ("Generated answers", "生成的回答"),
    "metric exact_match": ("Exact match", "完全匹配"),
    "metric perplexity": ("Perplexity", "困惑度"),
    "metric cross_entropy": ("Cross-entropy", "交叉熵"),
    "metric loss": ("loss", "损失"),
    "no before": (
        "To see answers from before training as well, set {setting}.",
        "若要同时查看训练前的回答，请设置 {setting}。",
    ),
    "before": ("Before", "训练前"),
    "after": ("After", "训练后"),
    "question": ("Question", "问题"),
    "reference": ("Reference", "参考答案"),
    "right": ("right", "正确"),
    "wrong": ("wrong", "错误"),
    "not asked": ("not asked yet", "尚未提问"),
    "sample of": (
        "Shown: {shown} of {rows} rows. All of them lie in {file}.",
        "展示 {rows} 行中的 {shown} 行，全部见 {file}。",
    ),
    # curves
    "curves": ("Curves", "曲线"),
    "loss": ("Loss", "损失"),
    "perplexity": ("Perplexity", "困惑度"),
    "learning rate": ("Learning rate", "学习率"),
    "gradient norm": ("Gradient norm", "梯度范数"),
    "speed": ("Tokens per second", "每秒词元数"),
    "every step": ("each step", "每步"),
    "each step": ("training, each step", "训练（每步）"),
    "training loss": ("training", "训练"),
    "smoothed": ("smoothed", "平滑"),
    "evaluation loss": ("evaluation", "验证"),
    "over time": ("What was measured, over time", "各项指标的变化"),
    "highest so far": ("highest so far", "至此最高"),
    "by step": ("step", "步"),
    "powers": ("Upwards in powers of ten.", "纵轴为对数刻度。"),
    "not a number": (
        "Not finite (NaN or ∞): step {steps} ({count} in all).",
        "无效数值（NaN 或 ∞）：第 {steps} 步，共 {count} 处。",
    ),
    "restart rule": ("Dashed: the run began again here.", "虚线：任务在此处恢复。"),
    "no steps": ("No step has been taken yet.", "尚未执行任何一步。"),
    # data
    "data": ("What happened to the data", "数据处理"),
    "rows": ("Rows", "行数"),
    "documents": ("Documents", "文档"),
    "tokens": ("Tokens", "词元"),
    "trained tokens": ("Trained tokens", "参训词元"),
    "masked tokens": ("Masked tokens, read only", "屏蔽词元（仅作上下文）"),
    "packs": ("Packs", "打包数"),
    "at least": ("(at least {bound})", "（至少 {bound}）"),
    "at best": ("(at best {bound})", "（上限 {bound}）"),
    "lengths": ("Lengths of the documents, in tokens", "文档长度（词元）"),
    "length figures": (
        "shortest {shortest}, half of them up to {median}, longest {longest}",
        "最短 {shortest}，中位数 {median}，最长 {longest}",
    ),
    "by source": ("Documents by source", "各来源的文档数"),
    "quarantine": ("Written down with the reasons in {path}", "连同原因写入 {path}"),
    "tokens a pack": ("Tokens per pack", "每包词元"),
    "efficiency": ("Packing efficiency", "打包效率"),
    "took": ("Time", "用时"),
    "source": ("From", "来源"),
    "from cache": ("the cache", "缓存"),
    "prepared": ("the rows", "原始数据"),
    "lost": ("Answer tokens lost to the length limit: {count}", "因长度上限丢失的回答词元：{count}"),
    "bad rows": ("Rows set aside", "跳过的行"),
    "also counted": ("Also counted", "其他统计"),
    "fate kept": ("kept whole", "完整保留"),
    "fate split": ("split", "切分"),
    "fate truncated": ("truncated", "截断"),
    "fate dropped": ("dropped, too long", "过长丢弃"),
    "fate short": ("dropped, too short", "过短丢弃"),
    "fate untrained": ("nothing to learn in it", "无可学内容"),
    "fate vanished": ("nothing to learn left by the cut", "截断后无可学内容"),
    "fate duplicate": ("duplicate", "重复"),
    "fate near_duplicate": ("near duplicate", "近似重复"),
    "fate refused": ("refused", "拒绝"),
    # plan
    "plan": ("Plan and outcome", "计划与实际"),
    "planned": ("Planned", "计划"),
    "happened": ("Happened", "实际"),
    "of plan": ("Of the plan", "占计划"),
    "steps": ("Steps", "步数"),
    "tokens seen": ("Tokens seen", "处理的词元"),
    "targets seen": ("Trained tokens seen", "处理的参训词元"),
    "time in steps": ("Time in steps", "训练步用时"),
    "waiting": ("of it waiting for data", "其中等待数据"),
    "memory": ("Memory, highest", "显存/内存峰值"),
    "memory by part": ("Planned memory by part", "计划内存构成"),
    "parameters": ("Parameters", "参数量"),
    "trainable": ("{total}, of which {trainable} train ({share})", "共 {total}，其中 {trainable} 参与训练（{share}）"),
    "operations": ("Floating-point operations", "浮点运算量"),
    "disk checkpoint": ("Disk, one checkpoint", "磁盘：单个检查点"),
    "disk result": ("Disk, the result", "磁盘：最终结果"),
    "steps per epoch": ("Steps per epoch", "每轮步数"),
    "epochs": ("Epochs", "轮数"),
    "more of the plan": ("More of the plan", "计划的其余内容"),
    "proved": (
        "By the hashes of all weights: {moved} trained tensors moved, {unmoved} frozen ones are bit for bit what they "
        "were.",
        "按全部权重的哈希：{moved} 个参训张量发生变化，{unmoved} 个冻结张量逐位未变。",
    ),
    "stood still": ("Trained, but without a change:", "参训但没有变化："),
    "drifted": ("Frozen, but changed:", "已冻结却发生变化："),
    "chosen": (
        "The result has the weights of step {step}, the best of all evaluations ({metric} {value}).",
        "最终结果取第 {step} 步的权重，为各次评估中最佳（{metric} {value}）。",
    ),
    "measured later": ("Measured afterwards", "之后的评估"),
    "own rows": ("the run's own rows", "本次运行自己的数据"),
    "no plan": ("The folder holds no plan.", "目录中没有计划。"),
    # notes
    "notes": ("Checkpoints, restarts, warnings", "检查点、恢复与警告"),
    "checkpoints": ("Saved", "已保存"),
    "step": ("Step", "步"),
    "path": ("Path", "路径"),
    "size": ("Size", "大小"),
    "result": ("the result", "最终结果"),
    "restarts": ("Restarts", "恢复"),
    "restarted": (
        "Began again at step {step} from {source} on {device}; steps taken a second time: {again}.",
        "从 {source} 恢复，自第 {step} 步继续，设备 {device}；重新执行 {again} 步。",
    ),
    "ended": ("The process before ended with: {reason}", "之前的进程结束原因：{reason}"),
    "ended without a word": ("The process before ended without a word.", "之前的进程未留下信息即终止。"),
    "anew": ("the beginning", "起点"),
    "warnings": ("Warnings", "警告"),
    "from the plan": ("plan", "计划"),
    "at step": ("step {step}", "第 {step} 步"),
    "skipped": (
        "Not applied, because the loss or its gradient was not finite: step {steps} ({count} in all).",
        "因损失或梯度无效而未更新参数：第 {steps} 步，共 {count} 步。",
    ),
    "nothing saved": ("Nothing has been saved yet.", "尚未保存任何内容。"),
    "no warnings": ("No warnings, no restarts.", "没有警告，也没有恢复。"),
    # runs side by side
    "comparison": ("Runs side by side", "任务对比"),
    "figures": ("What they reached", "结果指标"),
    "training loss of runs": ("Training loss, smoothed", "训练损失（平滑）"),
    "evaluation loss of runs": ("Evaluation loss", "验证损失"),
    "last evaluation": ("Evaluation loss, last", "验证损失（最后）"),
    "best evaluation": ("Evaluation loss, best", "验证损失（最佳）"),
    "time": ("Time", "用时"),
    "setting": ("Setting", "设置"),
    "settings apart": ("Where their recipes differ", "配方差异"),
    "same settings": ("Their recipes say the same.", "各配方相同。"),
    "other data": (
        "Their rows are not the same ({sets}), so their losses do not compare.",
        "所用数据不同（{sets}），损失不可直接比较。",
    ),
    "answers of runs": ("Their answers", "各自的回答"),
    # accounts, recipe, environment
    "whole record": ("The whole record", "完整记录"),
    "accounts": ("Every key of the file it was read from", "来源文件的每个键"),
    "dialect": ("read as {dialect}", "按 {dialect} 读取"),
    "key": ("Key", "键"),
    "value": ("Value", "值"),
    "place": ("Place", "位置"),
    "outcome": ("Outcome", "结果"),
    "target": ("Setting", "对应设置"),
    "note": ("Note", "说明"),
    "outcome applied": ("applied", "已生效"),
    "outcome default": ("default", "默认"),
    "outcome inert": ("inert", "无影响"),
    "outcome replaced": ("replaced", "已替换"),
    "outcome refused": ("refused", "已拒绝"),
    "recipe": ("The whole recipe", "完整配方"),
    "environment": ("Environment", "环境"),
    "device": ("Device", "设备"),
    "hashes": ("Hashes", "哈希"),
    "hash tokens": ("Tokens of", "词元"),
    "hash before": ("All weights before training", "训练前的全部权重"),
    "hash after": ("All weights after training", "训练后的全部权重"),
    "foot": (
        "Made by Luthier from the records in the run's folder. This page loads nothing from anywhere.",
        "由 Luthier 根据任务目录中的记录生成。本页面不加载任何外部内容。",
    ),
}


def say(key: str, **values: Content) -> Html:
    """A label or sentence in both languages, its values escaped.

    >>> say("step")
    '<span lang="en">Step</span><span lang="zh">步</span>'
    """
    english, chinese = WORDS[key]
    if english == chinese:
        return _filled(english, values)
    return joined(tag("span", _filled(english, values), lang="en"), tag("span", _filled(chinese, values), lang="zh"))


def say_if_known(prefix: str, key: str) -> Html:
    """The label of a name from the run when there is one, else the name itself."""
    return say(f"{prefix} {key}") if f"{prefix} {key}" in WORDS else escaped(key)


def _filled(pattern: str, values: dict[str, Content]) -> Html:
    return Html(escaped(pattern).format(**{name: escaped(value) for name, value in values.items()}))
