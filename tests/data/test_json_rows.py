"""A JSON file is read row by row, with the very values of ``json.loads``, wherever its chunks end."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from luthier.data import json_rows
from luthier.data.source import rows_of
from luthier.errors import DataError, Fault
from tests.data.made import source_of

SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(-(10**40), 10**40)
    | some.floats(allow_nan=False)
    | some.text(max_size=9)
)
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3)
)
ROWS = some.lists(some.dictionaries(some.text(max_size=6), VALUES, max_size=4), max_size=6)
LIKE_ANY = [HealthCheck.function_scoped_fixture]


def read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Origins, without the folder, and values."""
    return [(row.origin.removeprefix(f"{path}:"), row.value) for row in rows_of(source_of(path))]


def fault(path: Path) -> Fault:
    with pytest.raises(DataError) as caught:
        list(rows_of(source_of(path)))
    return caught.value.faults[0]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "CHUNK", 1)


@settings(suppress_health_check=LIKE_ANY, deadline=None, max_examples=150)
@given(rows=ROWS, indent=some.sampled_from([None, 1]), ascii_only=some.booleans(), chunk=some.integers(1, 40))
def test_values_are_those_of_json_loads(
    tmp_path: Path, rows: list[dict[str, Any]], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    path = tmp_path / "d.json"
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "CHUNK", chunk)
        found = [value for _, value in read(path)]
    assert repr(found) == repr(json.loads(text))


@pytest.mark.parametrize(
    "number", ["1.5e+300", "-0.0", "0.1", "123456789012345678901234567890", "1E5", "NaN", "-Infinity", "true", "null"]
)
def test_a_word_or_number_may_be_cut_anywhere(tmp_path: Path, small_chunks: None, number: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(f'[{{"a": {number}}},{{"b": [{number}]}}]')
    assert repr([value for _, value in read(path)]) == repr(json.loads(path.read_text()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("packed", [False, True])
def test_rows_are_counted_in_every_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, packed: bool
) -> None:
    monkeypatch.setattr(json_rows, "CHUNK", 7)
    rows = [{"a": "磨坊在河边的老桥旁 😀" * number} for number in range(1, 9)]
    data = json.dumps(rows, ensure_ascii=False, indent=2).encode(encoding)
    path = tmp_path / ("d.json.gz" if packed else "d.json")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read(path) == [(f"#{number}", row) for number, row in enumerate(rows, 1)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_what_is_wrong_is_named_by_line_row_and_byte(tmp_path: Path, small_chunks: None, encoding: str) -> None:
    text = '[\n{"a": "磨坊在河边的老桥旁"},\n\n{"b": 1},\n{"c": oops}\n]'
    path = tmp_path / "d.json"
    path.write_bytes(text.encode(encoding))
    found = fault(path)
    byte = path.read_bytes().index(
        "oops".encode("utf-16-le" if encoding == "utf-16" else encoding.removesuffix("-sig"))
    )
    assert found.place == f"{path}:5"
    assert found.reason == f"is not JSON: Expecting value (row 3, byte {byte})"
    assert found.remedy == "write a list of objects"


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ('[{"a": 1} {"a": 2}]', "Expecting ',' delimiter (row 1, byte 10)", "list of objects"),
        ('[{"a": 1}, ]', "Expecting value (row 2, byte 11)", "list of objects"),
        ('[{"a": 1}] [{"a": 2}]', "it goes on after the end of its list (row 1, byte 11)", "list of objects"),
        ('[{"a": 1}]\x00\x00', "it goes on after the end of its list (row 1, byte 10)", "list of objects"),
        ('[{"a": 1}, {"a": "be', "Unterminated string starting at (row 2, byte 17)", "list of objects"),
        ('[{"a": 1}, {"a": 2}', "Expecting ',' delimiter (row 2, byte 19)", "cut off"),
        ('[{"a": 1}, {"a": 2},\n', "Expecting value (row 3, byte 21)", "cut off"),
        ("[", "Expecting value (row 1, byte 1)", "cut off"),
        ('[{"a": 1' + "0" * 5000 + "}]", "Exceeds the limit", "list of objects"),
        ('[{"a": ' + "[" * 100_000, "recursion", "list of objects"),
    ],
    ids=["comma", "last comma", "second list", "NUL", "string", "bracket", "row", "empty", "digits", "nesting"],
)
def test_malformed_lists_are_refused(tmp_path: Path, text: str, said: str, remedy: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    found = fault(path)
    assert said in found.reason and remedy in found.remedy
    assert found.place.startswith(f"{path}:")


def test_rows_before_the_fault_are_read(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text("[" + '{"a": 1},' * 2000 + "oops]")
    rows = rows_of(source_of(path))
    assert [next(rows).value for _ in range(1024)] == [{"a": 1}] * 1024


def test_items_that_are_no_objects_are_named_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text('[1.5, {"a": 1}]')
    assert fault(path) == Fault("holds float, not an object", f"{path}:#1", 'write {"column": "text", …}')


@pytest.mark.parametrize("after", ["", " }", ', "more": 1}', "} {}"])
def test_a_long_list_may_have_a_frame_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    monkeypatch.setattr(json_rows, "WRAPPED", 4000)
    monkeypatch.setattr(json_rows, "CHUNK", 512)
    path = tmp_path / "d.json"
    rows = [{"a": str(number)} for number in range(1000)]
    path.write_text('\n{"the \\"rows\\"" : ' + json.dumps(rows) + after)
    if after == " }":
        assert [value for _, value in read(path)] == rows
    else:
        assert "goes on" in fault(path).reason


def test_a_long_object_of_other_columns_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "WRAPPED", 100)
    monkeypatch.setattr(json_rows, "CHUNK", 10)
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"text": "word " * 1000, "more": [1]}))
    assert read(path) == [("#1", {"text": "word " * 1000, "more": [1]})]


def test_a_row_may_be_giant_but_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.json"
    text = "word " * (10 << 20)
    path.write_text(json.dumps([{"text": "a"}, {"text": text}, {"text": "b"}]))
    found = [len(value["text"]) for _, value in read(path)]
    assert found == [1, len(text), 1]
    monkeypatch.setattr(json_rows, "LONGEST", 1 << 20)
    assert fault(path).reason.startswith("is not JSON: it is longer than 1,048,576 characters (row 2, byte 16)")


def test_a_long_list_is_not_held_in_memory(tmp_path: Path) -> None:
    """150 MB of rows, which ``json.load`` would make into half a gigabyte and more."""
    path = tmp_path / "d.json"
    row = json.dumps({"text": "word " * 200, "more": [1, 2, 3]})
    with path.open("w") as file:
        file.write("[" + row)
        for _ in range(150):
            file.write(("," + row) * 1000)
        file.write("]")
    program = (
        "import sys\n"
        "from luthier.data.source import blocks_of\n"
        "from luthier.recipe.source import Source\n"
        "most = lambda: int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
        "before = most()\n"
        "count = sum(len(block.rows) for block in blocks_of(Source(path=sys.argv[1])))\n"
        "print(count, most() - before)\n"
    )
    told = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    count, grown = map(int, told.stdout.split())
    assert count == 150_001 and grown < 60_000
