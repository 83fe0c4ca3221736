"""How much of the reference an answer's words cover, as ChatGLM3's demo measured it: ROUGE in per cent and BLEU-4 as a
share, on the words that jieba cuts, the white space between them included."""

from __future__ import annotations

import warnings
from functools import lru_cache
from importlib import import_module
from typing import Any

from luthier.errors import MissingPackage


def rouge_1(answer: str, reference: str) -> float:
    """F-measure of single words (Lin 2004)."""
    return _rouge(answer, reference)["rouge-1"]


def rouge_2(answer: str, reference: str) -> float:
    """F-measure of pairs of words (Lin 2004)."""
    return _rouge(answer, reference)["rouge-2"]


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words (Lin 2004)."""
    return _rouge(answer, reference)["rouge-l"]


def bleu_4(answer: str, reference: str) -> float:
    """BLEU of up to four words (Papineni et al. 2002) of one sentence, smoothed by method 3 of Chen & Cherry 2014.

    A share from 0 to 1. White space counts as the words that jieba makes of it.
    """
    words, wanted = _words(answer), _words(reference)
    if not words or not wanted:
        return 0.0
    score = _package("nltk.translate.bleu_score")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smoothing = score.SmoothingFunction().method3
        return float(score.sentence_bleu([list(wanted)], list(words), smoothing_function=smoothing))


@lru_cache(maxsize=1)
def _rouge(answer: str, reference: str) -> dict[str, float]:
    """All three at once, to four places; an answer without words covers nothing."""
    words, wanted = _words(answer), _words(reference)
    if not words or not wanted:
        return dict.fromkeys(("rouge-1", "rouge-2", "rouge-l"), 0.0)
    (scores,) = _package("rouge_chinese").Rouge().get_scores(" ".join(words), " ".join(wanted))
    return {name: round(100.0 * float(score["f"]), 4) for name, score in scores.items()}


@lru_cache(maxsize=4)
def _words(text: str) -> tuple[str, ...]:
    jieba = _package("jieba")
    jieba.setLogLevel("ERROR")
    return tuple(jieba.cut(text.strip()))


def _package(name: str) -> Any:
    """A package, imported without its own deprecation warnings.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except ImportError as error:
        raise MissingPackage(
            f"the package {name.partition('.')[0]} is not installed",
            place="evaluate.metrics",
            remedy='pip install "luthier[metrics]", or name other metrics',
        ) from error
