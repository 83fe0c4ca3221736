"""Origins are kept as numbers and read back as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from luthier.data.origins import Origins

ORIGINS = [
    "a.jsonl:1",
    "a.jsonl:12345678901",
    "b:#7",
    "prompt 1",
    "",
    "x:0",
    "x:007",
    "x:#",
    ":3",
    "a\nb:4",
    "C:\\d:#5",
]


def test_they_read_as_they_were() -> None:
    found = Origins.of(ORIGINS)
    assert list(found) == ORIGINS and found[2] == "b:#7" and len(found) == len(ORIGINS)


@given(st.lists(st.text(alphabet="ab:#019\n/", max_size=12)))
def test_whatever_they_are(origins: list[str]) -> None:
    assert list(Origins.of(origins)) == origins


def test_a_name_is_kept_once() -> None:
    found = Origins.of([f"rows.jsonl:{line}" for line in range(1, 1000)])
    assert found.names == ("rows.jsonl",) and found.places.nbytes == 999 * 16
