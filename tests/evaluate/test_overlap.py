"""ROUGE and BLEU-4 as ChatGLM3's demo computed them."""

from __future__ import annotations

import jieba
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge

from luthier.evaluate.overlap import bleu_4, rouge_1, rouge_2, rouge_l
from luthier.registry import resolve

PAIRS = [
    ("这件衣服的材质是棉,穿起来很舒服", "这件衣服采用棉质面料,舒适透气"),
    ("Mira lives in the old mill.", "Mira lives in the mill."),
    ("same words", "same words"),
]


@pytest.mark.parametrize(("answer", "reference"), PAIRS)
def test_they_are_the_demo_s_figures(answer: str, reference: str) -> None:
    words, wanted = ([w for w in jieba.cut(text) if w.strip()] for text in (answer, reference))
    (theirs,) = Rouge().get_scores(" ".join(words), " ".join(wanted))
    for name, ours in (("rouge-1", rouge_1), ("rouge-2", rouge_2), ("rouge-l", rouge_l)):
        assert ours(answer, reference) == pytest.approx(100 * theirs[name]["f"])
        assert resolve("metrics", name) is ours
    expected = 100 * sentence_bleu([wanted], words, smoothing_function=SmoothingFunction().method3)
    assert bleu_4(answer, reference) == pytest.approx(expected)


@pytest.mark.parametrize(("answer", "reference"), [("", "a word"), ("a word", ""), (" \n", " "), ("", "")])
def test_what_has_no_words_covers_nothing(answer: str, reference: str) -> None:
    assert [metric(answer, reference) for metric in (rouge_1, rouge_2, rouge_l, bleu_4)] == [0.0] * 4


def test_more_of_the_reference_is_more() -> None:
    reference = "Mira lives in the old mill by the river"
    answers = ("nothing alike", "Mira lives", "Mira lives in the old mill", reference)
    for metric in (rouge_1, rouge_2, rouge_l, bleu_4):
        figures = [metric(answer, reference) for answer in answers]
        assert figures == sorted(figures) and figures[-1] > 99
