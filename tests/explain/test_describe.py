from __future__ import annotations

import re

import pytest

from luthier.explain.catalogue import sections, settings
from luthier.explain.describe import Entry, entry
from luthier.explain.lookup import look_up

HAN = re.compile(r"[\u4e00-\u9fff]")
ABOUT_MEMORY = (
    "adapter.rank", "adapter.kind", "quantise.bits", "data.max_length", "batch.micro", "batch.accumulation",
    "optimizer.kind", "precision.compute", "runtime.gradient_checkpointing", "parallel.stage", "pack.kind",
    "model.dtype", "checkpoint.every", "batch.epochs", "evaluate.generate", "runtime.compile",
)  # fmt: skip
WITH_A_PAST = (
    "pack.kind", "batch.accumulation", "schedule.warmup_share", "schedule.warmup_steps", "checkpoint.every",
    "evaluate.every", "optimizer.weight_decay", "precision.compute", "data.group_by_length", "adapter.alpha",
    "adapter.rank", "adapter.targets", "data.template", "runtime.checkpoint_reentrant", "data.max_length",
    "method.neftune_alpha", "optimizer.kind",
)  # fmt: skip


def told(name: str, lang: str = "en", dialect: str | None = None) -> list[Entry]:
    return [entry(name, one, lang) for one in look_up(name, dialect)]


def text(name: str, lang: str = "en") -> str:
    return "\n".join(line for one in told(name, lang) for _, _, line in one.lines)


@pytest.mark.parametrize("name", settings())
def test_every_setting_is_told_in_both_languages(name: str) -> None:
    english, chinese = (told(name, lang)[0] for lang in ("en", "zh"))
    abouts = [list(dict.fromkeys(about for about, _, _ in one.lines)) for one in (english, chinese)]
    assert abouts[0] == abouts[1]
    assert {"what", "range", "default", "up", "down"} <= {about for about, _, _ in english.lines}
    for about, label, line in english.lines:
        assert line and not HAN.search(label + line), about
    for about, label, line in chinese.lines:
        assert HAN.search(label) and line
        if about in ("what", "up", "down", "cost", "history", "misread"):
            assert HAN.search(line) and line.endswith(("。", "）"))


@pytest.mark.parametrize("part", ["cost", "history", "misread"])
@pytest.mark.parametrize("name", settings())
def test_optional_words_come_in_both_languages_or_not_at_all(name: str, part: str) -> None:
    english, chinese = getattr(settings()[name].words, part)
    assert bool(english) == bool(chinese)
    assert not HAN.search(english) and (not english or english.endswith("."))
    assert not chinese or (HAN.search(chinese) and chinese.endswith("。"))


@pytest.mark.parametrize("name", ABOUT_MEMORY)
def test_what_costs_memory_or_time_says_so(name: str) -> None:
    assert settings()[name].words.cost[0]


@pytest.mark.parametrize("name", WITH_A_PAST)
def test_what_changed_over_the_years_says_so(name: str) -> None:
    assert settings()[name].words.history[0]


def test_a_key_says_all_that_was_asked_of_it() -> None:
    (one,) = told("lora_r")
    tree = one.tree()
    assert one.head == "lora_r (Axolotl, PEFT sft) -> adapter.rank"
    assert tree["unit"] == ["dimensions"] and tree["default"] == ["16"]
    assert any("Firefly" in line and "64" in line for line in tree["default elsewhere"])
    assert "lora_rank (Firefly)" in tree["elsewhere"][0] and "peft_config.r (ChatGLM3)" in tree["elsewhere"][0]
    assert {"up", "down", "cost", "history"} <= set(tree)


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("sft", "not “soft parameter sharing”", "不是“软参数共享”"),
        ("chat_template_format", "OpenAI's format, not Anthropic's", "OpenAI 的格式，并非 Anthropic"),
        ("strict", "checks no weights", "并不检查权重"),
        ("weight_decay", "no L2 penalty in the loss", "不是损失中的 L2 惩罚"),
        ("flash_attn_cross_entropy", "no option of attention", "不是注意力的选项"),
        ("flash_attn_rms_norm", "no option of attention", "不是注意力的选项"),
        ("flash_attn_fuse_qkv", "changes nothing within attention", "不改变注意力本身"),
        ("flash_attn_fuse_mlp", "nothing to do with attention", "与注意力无关"),
        ("gradient_accumulation_steps", "does not speed anything up", "不加速"),
        ("packing", "does not merge rows into a batch", "不是把样本合成一个批次"),
        ("neftune_noise_alpha", "nothing to do with Neptune", "与跟踪工具 Neptune 无关"),
        ("lora_rank", "does not guard against overfitting", "不能避免过拟合"),
        ("bnb_4bit_quant_storage_dtype", "neither size nor accuracy", "不影响大小也不影响精度"),
        ("use_reentrant", "no more memory", "不更省显存"),
        ("train_on_inputs", "is still read", "仍会被模型看到"),
        ("template_name", "not config.json's model_type", "不是 config.json 的 model_type"),
        ("max_seq_length", "no longer context", "不会让模型的上下文更长"),
        ("logging_nan_inf_filter", "the log alone", "只过滤日志"),
    ],
)
def test_what_is_often_misread_is_put_right(name: str, english: str, chinese: str) -> None:
    assert english in text(name, "en")
    assert chinese in text(name, "zh")


def test_a_key_without_effect_says_why() -> None:
    (one,) = told("remove_unused_columns", "en", "training_arguments")
    assert {about for about, _, _ in one.lines} == {"what", "here"}


def test_a_refused_key_says_what_to_write() -> None:
    (one,) = told("lr_quadratic_warmup")
    assert "warm-up is linear -> leave it out" in one.tree()["here"]


def test_notes_are_told_under_the_systems_they_are_about() -> None:
    (one,) = told("warmup_steps")
    assert any(about == "makes" and text == "schedule.warmup_share" for about, _, text in one.lines)
    (decay,) = told("weight_decay", "en", "axolotl")
    assert ("note", "Axolotl", "decoupled, not an L2 term in the loss; spares biases and norms") in decay.lines


@pytest.mark.parametrize("name", sections())
def test_a_section_names_what_is_in_it(name: str) -> None:
    inside = told(name)[0].tree()["settings"][0].split(", ")
    assert inside and all(one in settings() or one in sections() for one in inside)
