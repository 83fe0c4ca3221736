"""Rows that say nearly the same are found, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.data.example import Example, Message, Ready
from luthier.data.near import HASHES, Near, signatures_of
from tests.data.made import talk

WORDS = [f"word{n}" for n in range(200)]


def near(threshold: float, *texts: str) -> list[bool]:
    index = Near(threshold)
    return index.add(signatures_of([talk(("user", text), ("assistant", "Yes.")) for text in texts])).tolist()


def test_rows_that_differ_in_a_word_are_nearly_the_same() -> None:
    changed = [*WORDS[:100], "other", *WORDS[101:]]
    text = " ".join(WORDS)
    assert near(0.8, text, " ".join(changed), " ".join(reversed(WORDS)), text.upper()) == [False, True, False, True]


def test_the_threshold_is_the_share_of_triples() -> None:
    half = " ".join([*WORDS[:130], *(f"x{n}" for n in range(70))])  # about 0.48 of all triples are shared
    assert near(0.35, " ".join(WORDS), half) == [False, True]
    assert near(0.65, " ".join(WORDS), half) == [False, False]


def test_a_shared_system_message_makes_nothing_alike() -> None:
    system = ("system", " ".join(WORDS))
    rows = [talk(system, ("user", "Where is the old mill?")), talk(system, ("user", "Who sells grey eggs here?"))]
    index = Near(0.5)
    assert index.add(signatures_of(rows)).tolist() == [False, False]


def test_writing_without_spaces_and_ready_rows_are_compared_too() -> None:
    assert near(0.7, "磨坊在河边的小路尽头靠近老桥", "磨坊在河边的小路尽头靠近老树", "今天的天气很好我们去散步吧") == [
        False,
        True,
        False,
    ]
    rows = [
        Example((Message("text", ""),), "d:1", ready=Ready(tuple(range(n, n + 50)), (True,) * 50)) for n in (0, 1, 500)
    ]
    index = Near(0.8)
    assert index.add(signatures_of(rows)).tolist() == [False, True, False]


@pytest.mark.parametrize("text", ["", "one", "one two"])
def test_short_rows_have_a_signature(text: str) -> None:
    assert signatures_of([Example((Message("text", text),), "d:1")]).shape == (1, 64)


@pytest.mark.parametrize(("threshold", "size"), [(0.8, 1), (0.8, 7), (0.5, 64)])
def test_however_the_rows_come_each_is_compared_with_all_kept_ones(threshold: float, size: int) -> None:
    """Families of signatures that differ in some places: some near enough, some not; in tables of many sizes."""
    draw = np.random.default_rng(0)
    families = draw.integers(0, 2**32, (40, HASHES), dtype=np.uint32)
    rows = families[draw.integers(0, len(families), 600)]
    changed = draw.random(rows.shape) < draw.choice([0.05, 0.15, 0.6], (len(rows), 1))
    rows = np.where(changed, draw.integers(0, 2**32, rows.shape, dtype=np.uint32), rows)
    index = Near(threshold)
    index.NEWEST = 50  # type: ignore[misc]
    found = np.concatenate([index.add(rows[start : start + size]) for start in range(0, len(rows), size)])
    kept: list[np.ndarray] = []
    expected = []
    for row in rows:
        alike = any((row == other).mean() >= threshold and _share_a_band(row, other, index) for other in kept)
        expected.append(alike)
        if not alike:
            kept.append(row)
    assert 50 < sum(expected) < 550
    assert (found != expected).mean() < 0.01, "a band's first row hides a later one now and then"


def _share_a_band(one: np.ndarray, other: np.ndarray, index: Near) -> bool:
    bands = (one == other).reshape(-1, 4 if index._threshold >= 0.65 else 2)
    return bool(bands.all(axis=1).any())
