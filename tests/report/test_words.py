from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import luthier.report
from luthier.report.words import WORDS, say, say_if_known


def fields(pattern: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(pattern) if name}


@pytest.mark.parametrize("key", sorted(WORDS))
def test_both_languages_say_the_same(key: str) -> None:
    english, chinese = WORDS[key]
    assert english.strip()
    assert chinese.strip()
    assert fields(english) == fields(chinese)
    if key != "other language":
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert not re.search(r"[\u4e00-\u9fff]", english)


def test_every_label_is_used() -> None:
    folder = Path(luthier.report.__file__).parent
    sources = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "words.py")
    composed = ("method ", "metric ", "reason ", "fate ", "outcome ")
    assert [key for key in WORDS if f'"{key}"' not in sources and not key.startswith(composed)] == []


def test_values_are_escaped_and_never_filled_again() -> None:
    assert "&lt;b&gt;{again}" in say("restarted", step="1", source="<b>{again}", device="cpu", again="2")


def test_unknown_names_are_text() -> None:
    assert say_if_known("fate", "<b>") == "&lt;b&gt;"
    assert say_if_known("fate", "kept") == say("fate kept")
