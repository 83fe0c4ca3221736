"""chrF against its formula by hand, and against sacreBLEU where that is installed."""

from __future__ import annotations

import pytest

from luthier.evaluate.chrf import chrf
from luthier.registry import resolve

PAIRS = [
    ("Mira lives in the old mill.", "Mira lives in the mill."),
    ("the mill", "the old mill"),
    ("这件衣服的材质是棉", "这件衣服采用棉质面料"),
    ("ab", "abcdefgh"),
    ("abcdefgh", "ab"),
    ("nothing", "xyz"),
    ("", "words"),
    ("words", ""),
    ("the same", "the same"),
]


@pytest.mark.parametrize(("answer", "reference"), PAIRS)
def test_it_is_sacrebleu_s_sentence_figure(answer: str, reference: str) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    assert chrf(answer, reference) == pytest.approx(metrics.CHRF().sentence_score(answer, [reference]).score)


def test_it_is_the_formula() -> None:
    """ "ab" against "abc": runs of one and two characters, precision 1 and 1, recall 2/3 and 1/2."""
    recall = (2 / 3 + 1 / 2) / 2
    assert chrf("ab", "a bc") == pytest.approx(100 * 5 * recall / (4 + recall))
    assert resolve("metrics", "chrf") is chrf


def test_nothing_and_everything() -> None:
    assert chrf("", "a") == chrf("a", "") == chrf("", "") == chrf("abc", "xyz") == 0
    assert chrf("in the mill", "in the  mill\n") == pytest.approx(100)
