"""ROUGE and BLEU-4 as ChatGLM3's demo computed them, which is written out here from its own steps."""

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
    (" Mira  lives in\nthe old mill. ", "Mira lives\nin the mill.\n"),
    ("same words", "same words"),
]


@pytest.mark.parametrize(("answer", "reference"), PAIRS)
def test_they_are_the_demo_s_figures(answer: str, reference: str) -> None:
    """Stripped texts, every word that jieba cuts, spaces among them: the demo's figures, on its own scales."""
    said, wanted = list(jieba.cut(answer.strip())), list(jieba.cut(reference.strip()))
    (theirs,) = Rouge().get_scores(" ".join(said), " ".join(wanted))
    for name, ours in (("rouge-1", rouge_1), ("rouge-2", rouge_2), ("rouge-l", rouge_l)):
        assert ours(answer, reference) == round(theirs[name]["f"] * 100, 4)
        assert resolve("metrics", name) is ours
    smoothing = SmoothingFunction().method3
    assert bleu_4(answer, reference) == sentence_bleu([wanted], said, smoothing_function=smoothing)


def test_spaces_count_as_words() -> None:
    """The figure by hand: words and spaces of a six-word answer against those of a five-word reference."""
    answer, reference = "a b c d x", "a b c d y"
    grams = [(8, 9), (7, 8), (6, 7), (5, 6)]
    expected = 1.0
    for shared, all_of_them in grams:
        expected *= (shared / all_of_them) ** 0.25
    assert bleu_4(answer, reference) == pytest.approx(expected)


@pytest.mark.parametrize(("answer", "reference"), [("", "a word"), ("a word", ""), (" \n", " "), ("", "")])
def test_what_has_no_words_covers_nothing(answer: str, reference: str) -> None:
    assert [metric(answer, reference) for metric in (rouge_1, rouge_2, rouge_l, bleu_4)] == [0.0] * 4


@pytest.mark.parametrize(("metric", "most"), [(rouge_1, 99), (rouge_2, 99), (rouge_l, 99), (bleu_4, 0.99)])
def test_more_of_the_reference_is_more(metric: object, most: float) -> None:
    reference = "Mira lives in the old mill by the river"
    answers = ("nothing alike", "Mira lives", "Mira lives in the old mill", reference)
    figures = [metric(answer, reference) for answer in answers]  # type: ignore[operator]
    assert figures == sorted(figures) and figures[-1] > most
