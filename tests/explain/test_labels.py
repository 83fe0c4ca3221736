from __future__ import annotations

import re
from string import Formatter

import pytest

from luthier.explain.catalogue import settings
from luthier.explain.labels import GROUPS, LABELS, UNITS, say, typeset

HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("key", sorted(set(LABELS) - {"join"}))
def test_every_label_is_there_in_both_languages_with_the_same_gaps(key: str) -> None:
    english, chinese = LABELS[key]
    assert english and not HAN.search(english) and HAN.search(chinese)
    gaps = [[name for _, name, _, _ in Formatter().parse(one) if name is not None] for one in (english, chinese)]
    assert gaps[0] == gaps[1]


@pytest.mark.parametrize("key", GROUPS)
def test_every_group_is_named_in_both_languages(key: str) -> None:
    assert not HAN.search(GROUPS[key][0]) and HAN.search(GROUPS[key][1])


def test_every_unit_has_a_chinese_word_and_none_is_left_over() -> None:
    assert {one.words.unit for one in settings().values()} - {""} == set(UNITS)


def test_a_gap_is_filled() -> None:
    assert say("value", "en", "method.kind") == "a value of method.kind"


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("模型,数据;其他:无", "模型，数据；其他：无"),
        ("默认 8,Axolotl 也是", "默认 8，Axolotl 也是"),
        ("32,000 x 4,096 的嵌入", "32,000 x 4,096 的嵌入"),
        ("rank x (输入 + 输出) 个", "rank x（输入 + 输出）个"),
        ("fp16(2018)有 5 位", "fp16（2018）有 5 位"),
        ("写 `a: b` 或 f(x)", "写 `a: b` 或 f(x)"),
        ("已经，排好（如此）。", "已经，排好（如此）。"),
    ],
)
def test_chinese_gets_full_width_marks(typed: str, printed: str) -> None:
    assert typeset(typed) == printed
