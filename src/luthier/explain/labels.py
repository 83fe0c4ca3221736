"""What the explanations say around a setting's own words, in English and Chinese."""

from __future__ import annotations

import re

from luthier.recipe.field import Pair

LABELS: dict[str, Pair] = {
    "what": ("what", "含义"),
    "unit": ("unit", "单位"),
    "range": ("range", "取值"),
    "default": ("default", "默认"),
    "default elsewhere": ("default elsewhere", "其他系统的默认"),
    "cost": ("memory and time", "显存与时间"),
    "elsewhere": ("called elsewhere", "在其他系统中"),
    "also": ("also touched by", "另受影响于"),
    "history": ("history", "历史"),
    "misread": ("often misread", "常见误解"),
    "makes": ("also sets", "同时影响"),
    "raise": ("raise it", "调大"),
    "lower": ("lower it", "调小"),
    "on": ("turn it on", "开启"),
    "off": ("turn it off", "关闭"),
    "set": ("set it", "设置"),
    "leave": ("leave it", "不设"),
    "settings": ("settings in it", "所含设置"),
    "value": ("a value of {}", "{} 的一个取值"),
    "here": ("here", "在此"),
    "inert": ("No effect here: ", "在此无效:"),
    "replaced": ("Lives on in another form: ", "以其他形式保留:"),
    "refused": ("Cannot be honoured: ", "无法照办:"),
    "item": ("One of {}.", "{} 的一项。"),
    "group": ("A group of keys, explained one by one.", "一组相关的键,逐一解释如下。"),
    "unknown": ("No key of {}.", "不是 {} 的键。"),
    "integer": ("whole number", "整数"),
    "number": ("number", "数"),
    "text": ("text", "文本"),
    "list": ("list", "列表"),
    "mapping": ("mapping", "映射"),
    "any": ("any value", "任意值"),
    "unset": ("unset", "不设"),
    "required": ("required", "必填"),
    "empty": ("empty", "空"),
    "every": ("steps, a share below 1, epoch, never", "步数、小于 1 的比例、epoch、never"),
    "part": ("number, or a share below 1", "个数,或小于 1 的比例"),
    "join": (", ", "、"),
}

GROUPS: dict[str, Pair] = {
    "datasets": ("The sets of rows to train on.", "训练用的各数据集。"),
    "test_datasets": ("The sets of rows to evaluate on.", "评估用的各数据集。"),
    "pretraining_dataset": ("Plain text to pretrain on.", "预训练用的纯文本数据。"),
    "data_config": ("The files of rows.", "数据文件。"),
    "training_args": ("transformers' TrainingArguments, key by key.", "transformers 的 TrainingArguments 各项。"),
    "generation_config": ("How answers are generated.", "生成回答的设置。"),
    "peft_config": ("The adapter; without it all weights train.", "适配器设置;没有它则训练全部权重。"),
    "special_tokens": ("Control tokens that replace the tokenizer's own.", "替换分词器自带的控制词元。"),
    "zero_optimization": ("DeepSpeed's sharding (ZeRO).", "DeepSpeed 的分片设置(ZeRO)。"),
    "fp16": ("Computing in fp16, and its loss scaling.", "fp16 运算及其损失缩放。"),
    "bf16": ("Computing in bf16.", "bf16 运算。"),
    "optimizer": ("DeepSpeed's optimiser, which replaces the recipe's.", "DeepSpeed 的优化器,会取代配方中的。"),
    "scheduler": ("DeepSpeed's schedule, which replaces the recipe's.", "DeepSpeed 的学习率调度,会取代配方中的。"),
    "fsdp_config": ("How FSDP shards.", "FSDP 的分片设置。"),
    "deepspeed_config": ("How DeepSpeed shards.", "DeepSpeed 的分片设置。"),
}
"""Keys that only hold others."""

TITLES = {
    "accelerate": "accelerate",
    "axolotl": "Axolotl",
    "chatglm3": "ChatGLM3",
    "deepspeed": "DeepSpeed",
    "firefly": "Firefly",
    "luthier": "Luthier",
    "peft_sft": "PEFT sft",
    "training_arguments": "TrainingArguments",
}
"""What the systems are called; another package's dialect keeps its own name."""


def title(table: str) -> str:
    """What a dialect or companion is called."""
    return TITLES.get(table, table)


def say(key: str, lang: str, *parts: str) -> str:
    """A label in a language, its placeholders filled."""
    return pick(LABELS[key], lang).format(*parts)


def pick(pair: Pair, lang: str) -> str:
    """The part of a pair that is in the language."""
    return typeset(pair[1]) if lang == "zh" else pair[0]


_HAN = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef“”"
_FULL = {",": "，", ";": "；", ":": "：", "?": "？"}


def typeset(text: str) -> str:
    """Chinese with full-width marks beside Chinese characters, however it was typed.

    >>> typeset("缩放系数(每 64 个一个),见 a, b")
    '缩放系数（每 64 个一个），见 a, b'
    """
    text = re.sub(
        rf"(?<=[{_HAN}]) ?\(([^()]*)\) ?| ?\(([^()]*[{_HAN}][^()]*)\) ?| ?\(([^()]*)\)(?=[{_HAN}])",
        lambda match: f"（{match[1] or match[2] or match[3] or ''}）",
        text,
    )
    marks = rf"(?<=[{_HAN}])[,;:?]|[,;:?](?=[{_HAN}])|;(?=\S)|,(?=\S)(?!(?<=\d,)\d)"
    return re.sub(marks, lambda match: _FULL[match[0]], text)


UNITS: dict[str, str] = {
    "beams": "束",
    "bits": "比特",
    "checkpoints": "检查点",
    "cycles": "周期",
    "devices": "设备",
    "dimensions": "维",
    "epochs": "轮",
    "evaluations": "次评估",
    "features": "维",
    "heads": "头",
    "layers": "层",
    "micro-batches": "微批",
    "packs": "打包",
    "parts": "份",
    "processes": "进程",
    "rows": "行",
    "rows or share": "行数或比例",
    "seconds": "秒",
    "share": "比例",
    "share of lr": "占 lr 的比例",
    "steps": "步",
    "steps or epochs": "步或轮",
    "steps, share of the run": "步,或占总进度的比例",
    "threads": "线程",
    "tokens": "词元",
}
"""Units in Chinese."""


def unit_text(unit: str, lang: str) -> str:
    """A unit in a language."""
    return pick((unit, UNITS.get(unit, unit)), lang)
