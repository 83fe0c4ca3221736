"""Every reason has its words in both languages, with the same places to fill."""

from __future__ import annotations

import re

import pytest

from luthier.data.tokens import Fate
from luthier.show.reason import WORDS, Reason
from luthier.show.words import FATES
from luthier.show.words import WORDS as LABELS


@pytest.mark.parametrize("kind", WORDS)
def test_words_in_both_languages(kind: str) -> None:
    english, chinese = WORDS[kind]
    assert english.isascii() and re.search("[\u4e00-\u9fff]", chinese)
    assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese))
    reason = Reason(kind, 3, "user", "assistant, tool")
    assert "{" not in reason.words("en") + reason.words("zh") and reason.words("en") != reason.words("zh")


def test_every_fate_has_words() -> None:
    assert set(FATES) == {fate.value for fate in Fate}
    assert all(len(pair) == 2 and pair[0] != pair[1] for pair in (*FATES.values(), *LABELS.values()))
