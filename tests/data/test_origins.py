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


def test_documents_of_one_row_have_its_number() -> None:
    found = Origins.of(["a:1", "a:1", "a:2", "b:#1", "b:#2", "b:#2", "a:2", "a:1", "b:1"])
    assert found.rows.tolist() == [0, 0, 1, 2, 3, 3, 1, 0, 4]


@given(st.lists(st.tuples(st.sampled_from(["a", "b:x", "c"]), st.integers(-3, 3).filter(bool)), max_size=20))
def test_rows_are_numbered_as_they_come(places: list[tuple[str, int]]) -> None:
    origins = [f"{name}:{number}" if number > 0 else f"{name}:#{-number}" for name, number in places]
    order = list(dict.fromkeys(origins))
    assert Origins.of(origins).rows.tolist() == [order.index(origin) for origin in origins]


def test_origins_without_a_row_stand_for_themselves() -> None:
    assert Origins.of(["hand", "hand", "a:1", "a:1", "hand"]).rows.tolist() == [0, 1, 2, 2, 3]
