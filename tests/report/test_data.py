"""The section on the data: every fate, what is lost, how long documents are and how full their packs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.data.fill import told_of
from luthier.data.order import Feed
from luthier.data.tokens import Fate
from luthier.report.page import build_page
from luthier.report.source import read_record
from tests.report.folders import finished_run, make, prepared, started, stepped
from tests.report.reader import Page

LENGTHS = np.random.default_rng(0).integers(3, 400, size=900)
FEED = Feed(LENGTHS, 512, micro=1, accumulation=1, shuffle=True, seed=0)
SUMMARY: dict[str, Any] = {
    "rows": 1_000,
    "fates": {fate.value: 10 * number for number, fate in enumerate(Fate, 1)},
    "bad_rows": ["d.jsonl:17: has no answer"],
    "lost_answer_tokens": 1_204,
    "lost_targets": {"dropped": 1_000, "truncated": 204},
    "notes": ["a.txt was read as GB18030, not UTF-8"],
    "quarantine": "/cache/bad_rows/1.jsonl",
    "documents_by_source": [600, 300],
    **told_of(FEED, FEED.packs(0)),
}


def page_of(place: Path, summary: dict[str, Any], recipe: str = "data: {train: [{path: one}, {path: two}]}") -> Page:
    made = prepared(summary=summary, documents=900, tokens=int(LENGTHS.sum()), targets=1_000, packs=400)
    return Page(build_page(read_record(make(place, [started(), made, stepped(1)], recipe=recipe))))


@pytest.mark.parametrize("fate", list(Fate))
def test_every_fate_has_its_words_and_share(tmp_path: Path, fate: Fate) -> None:
    from luthier.report.words import WORDS

    page = page_of(tmp_path, SUMMARY)
    english, chinese = WORDS[f"fate {fate}"]
    assert f"{english} {SUMMARY['fates'][fate]}" in page.text("en")
    assert f"{chinese} {SUMMARY['fates'][fate]}" in page.text("zh")


def test_what_is_lost_and_noted_is_told(tmp_path: Path) -> None:
    text = page_of(tmp_path, SUMMARY).text()
    assert "Answer tokens lost to the length limit: 1,204 (dropped, too long 1,000, truncated 204)" in text
    assert "a.txt was read as GB18030, not UTF-8" in text
    assert "d.jsonl:17: has no answer" in text
    assert "Written down with the reasons in /cache/bad_rows/1.jsonl" in text
    assert "Documents by source 2" in text and "one 600" in text and "two 300" in text


def test_what_is_only_read_is_counted_too(tmp_path: Path) -> None:
    tokens = int(LENGTHS.sum())
    assert f"Masked tokens, read only {tokens - 1_000:,} (" in page_of(tmp_path, SUMMARY).text()


def test_packs_stand_beside_the_fewest_that_could_be(tmp_path: Path) -> None:
    text = page_of(tmp_path, SUMMARY).text()
    assert f"(at least {SUMMARY['fewest_packs']})" in text
    assert re.search(r"Packing efficiency [\d.>]+% \(at best [\d.>]+%\)", text)


def test_bars_are_the_counts_of_lengths(tmp_path: Path) -> None:
    page = page_of(tmp_path, SUMMARY)
    told = SUMMARY["lengths"]
    words = [one.text for one in page.those("title") if "–" in one.text]
    width = told["width"]
    assert words == [
        f"{at * width + 1:,}–{(at + 1) * width:,}: {count}" for at, count in enumerate(told["counts"]) if count
    ]
    assert (
        f"shortest {LENGTHS.min()}, half of them up to {int(np.median(LENGTHS))}, longest {LENGTHS.max()}"
        in page.text()
    )


@pytest.mark.parametrize(
    "lengths",
    [None, 3, {}, {"width": 0, "counts": [1]}, {"width": 5, "counts": "x"}, {"width": 5, "counts": [None, 0]}],
)
def test_lengths_that_were_not_counted_are_not_drawn(tmp_path: Path, lengths: Any) -> None:
    page = page_of(tmp_path, {**SUMMARY, "lengths": lengths, "documents_by_source": {"a": 1}, "lost_targets": 3})
    assert "Lengths of the documents" not in page.text()


def test_the_time_that_steps_waited_is_told_with_its_share(tmp_path: Path) -> None:
    text = Page(build_page(read_record(make(tmp_path, finished_run())))).text()
    assert "of it waiting for data 0.96s (0.304%)" in text
