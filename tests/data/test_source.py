"""Every kind of file gives its rows, each with the place it came from."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from luthier.data.source import files_of, rows_of
from luthier.data.text_file import encoding_of, plain_size
from luthier.errors import DataError, Fault
from tests.conftest import World, write_jsonl
from tests.data.made import source_of


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path: Path, **settings: Any) -> list[tuple[str, dict[str, Any]]]:
    """Origins, without the folder, and values."""
    return [(row.origin.removeprefix(f"{path}:"), row.value) for row in rows_of(source_of(path, **settings))]


def fault(path: Path, **settings: Any) -> Fault:
    with pytest.raises(DataError) as caught:
        list(rows_of(source_of(path, **settings)))
    assert len(caught.value.faults) == 1
    return caught.value.faults[0]


def test_json_lines_keep_their_line_numbers_over_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", '{"a": 1}\n\n  \n{"a": "\u00fc\u2028"}\n{"a": 3}')
    assert read(path) == [("1", {"a": 1}), ("4", {"a": "ü\u2028"}), ("5", {"a": 3})]


def test_json_lines_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n')
    assert read(path) == [("1", {"a": 1}), ("2", {"a": 2})]


@pytest.mark.parametrize("line", [b'{"a": ', b"{'a': 1}", b'{"a": "\xff"}'], ids=["cut", "quotes", "bytes"])
def test_a_broken_json_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "d.jsonl", b'{"a": 1}\n\n' + line + b"\n")
    found = fault(path)
    assert found.place == f"{path}:3"
    assert found.reason.startswith("is not JSON")
    assert found.remedy


def test_a_json_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    found = fault(written(tmp_path / "d.jsonl", '{"a": 1}\n["b"]\n'))
    assert found.place == f"{tmp_path}/d.jsonl:2"
    assert "holds list, not an object" in found.reason


def test_rows_before_a_broken_line_are_still_read(tmp_path: Path) -> None:
    rows = rows_of(source_of(written(tmp_path / "d.jsonl", '{"a": 1}\noops\n')))
    assert next(rows).value == {"a": 1}


@pytest.mark.parametrize(
    "text",
    ['[{"a": 1}, {"a": 2}]', '{"data": [{"a": 1}, {"a": 2}]}', '\ufeff[\n{"a": 1},\n\n{"a": 2}\n]'],
    ids=["list", "wrapped", "mark"],
)
def test_a_json_list_is_counted(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "d.json", text)
    assert read(path) == [("#1", {"a": 1}), ("#2", {"a": 2})]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_json_lines_under_the_name_json_are_read_as_such(tmp_path: Path, mark: str) -> None:
    path = written(tmp_path / "d.json", mark + '{"a": 1}\n\n{"a": 2}\n')
    assert read(path) == [("1", {"a": 1}), ("3", {"a": 2})]


@pytest.mark.parametrize("value", [{"a": 1}, {"a": [1], "b": [2]}, {"a": [1], "b": 2}])
def test_one_json_object_is_one_row(tmp_path: Path, value: dict[str, Any]) -> None:
    assert read(written(tmp_path / "d.json", json.dumps(value))) == [("#1", value)]


@pytest.mark.parametrize("text", ["5", "null", '"words"'])
def test_json_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "d.json", text)
    found = fault(path)
    assert "not an object" in found.reason and found.place == str(path)


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    found = fault(written(tmp_path / "d.json", '[\n{"a": 1},\n{"a": }\n]'))
    assert found.place == f"{tmp_path}/d.json:3"


def test_csv_rows_are_named_by_the_line_on_which_they_begin(tmp_path: Path) -> None:
    text = 'a,b\n1,"two\nlines"\n\n"say ""hi"", all","three\r\nmore\nlines"\n5,6\n'
    assert read(written(tmp_path / "d.csv", text)) == [
        ("2", {"a": "1", "b": "two\nlines"}),
        ("5", {"a": 'say "hi", all', "b": "three\r\nmore\nlines"}),
        ("8", {"a": "5", "b": "6"}),
    ]


def test_a_csv_header_may_be_quoted_over_lines_and_begin_with_a_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", '\ufeff"a\nb",c\r\n1,2\r\n')
    assert read(path) == [("3", {"a\nb": "1", "c": "2"})]


def test_tsv_is_cut_at_tabs(tmp_path: Path) -> None:
    path = written(tmp_path / "d.tsv", "a\tb\n1,5\t2\n")
    assert read(path) == [("2", {"a": "1,5", "b": "2"})]


@pytest.mark.parametrize(("line", "count"), [("1", 1), ("1,2,3", 3)])
def test_a_row_with_a_wrong_number_of_cells_is_named(tmp_path: Path, line: str, count: int) -> None:
    found = fault(written(tmp_path / "d.csv", f'a,b\n1,"x\ny"\n{line}\n'))
    assert found.place == f"{tmp_path}/d.csv:4"
    assert found.reason == f"has {count} cells where the header has 2"


def test_an_open_quote_is_refused(tmp_path: Path) -> None:
    found = fault(written(tmp_path / "d.csv", 'a,b\n1,"open\n2,3\n'))
    assert found.place == f"{tmp_path}/d.csv:2" and found.remedy
    assert found.reason == "is not CSV: unexpected end of data (the row goes on to line 3)"


def test_an_empty_csv_file_is_refused(tmp_path: Path) -> None:
    assert fault(written(tmp_path / "d.csv", "")).reason == "is empty"


def test_a_csv_cell_may_be_a_whole_book(tmp_path: Path) -> None:
    book = "word " * 50_000
    assert read(written(tmp_path / "d.csv", f"text\n{book}\n")) == [("2", {"text": book})]


def test_parquet_rows_are_counted_over_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    values = [{"a": "x", "turns": [{"role": "user"}]}, {"a": None, "turns": []}, {"a": "z", "turns": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), path, row_group_size=2)
    assert read(path) == [(f"#{number}", value) for number, value in enumerate(values, 1)]


def test_a_file_that_only_claims_to_be_parquet_is_refused(tmp_path: Path) -> None:
    found = fault(written(tmp_path / "d.parquet", "words"))
    assert found.reason.startswith("is not Parquet") and found.place == f"{tmp_path}/d.parquet" and found.remedy


def test_text_files_give_a_row_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "d.txt", "\ufeffone\n\n  two \r\nthr\u2028ee\x0c!\n")
    assert read(path) == [("1", {"text": "one"}), ("3", {"text": "  two "}), ("4", {"text": "thr\u2028ee\x0c!"})]


@pytest.mark.parametrize("name", ["d.json", "d.csv", "d.txt"])
def test_a_file_that_is_not_utf8_is_named_with_its_byte(tmp_path: Path, name: str) -> None:
    found = fault(written(tmp_path / name, b"abc\xe9"))
    assert found.reason == "is not UTF-8 text (byte 3)" and found.remedy == "save it as UTF-8"


SAID = "磨坊在哪里、怎么走。就在河边的老桥旁"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gbk", "gb18030"])
@pytest.mark.parametrize(
    ("name", "text", "origin"),
    [
        ("d.jsonl", '{{"text": "{}"}}\n', "1"),
        ("d.json", '[{{"text": "{}"}}]', "#1"),
        ("d.csv", "text\n{}\n", "2"),
        ("d.tsv", "text\n{}\n", "2"),
        ("d.txt", "{}\n", "1"),
    ],
)
def test_encodings_are_told_from_the_bytes(tmp_path: Path, encoding: str, name: str, text: str, origin: str) -> None:
    path = written(tmp_path / name, text.format(SAID).encode(encoding))
    assert read(path) == [(origin, {"text": SAID})]


def test_utf_16_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", '{"a": "1"}\r\n\n{"a": "\u20282\x85"}'.encode("utf-16"))
    assert read(path) == [("1", {"a": "1"}), ("3", {"a": "\u20282\x85"})]


def test_western_text_is_not_taken_for_chinese(tmp_path: Path) -> None:
    path = written(tmp_path / "d.txt", "na\xefve caf\xe9s, d\xe9j\xe0 vu, \xfcber".encode("latin-1"))
    assert fault(path).reason == "is not UTF-8 text (byte 2)"


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.JSONL.GZ"])
def test_packed_files_are_unpacked(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    assert read(path) == [("1", {"a": 1}), ("2", {"a": 2})]
    assert read(tmp_path)[1][0] == f"{path}:2"


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    found = fault(written(tmp_path / "d.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99)[:-9]))
    assert found.reason.startswith("cannot be read") and found.place == f"{tmp_path}/d.csv.gz" and found.remedy


@pytest.mark.parametrize("name", ["d.jsonl", "d.txt", "d.jsonl.gz"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    assert read(written(tmp_path / name, gzip.compress(b"") if name.endswith("gz") else b"")) == []


def test_an_empty_json_file_is_called_so(tmp_path: Path) -> None:
    assert fault(written(tmp_path / "d.json", " \n")).reason == "is empty"


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [("d.jsonl", '{"a": 1}\n\0\0\0\0\n', "2"), ("d.csv", "a\nx\0y\n", "2"), ("d.txt", "one\ntw\0o\n", "2")],
)
def test_nul_bytes_are_named(tmp_path: Path, name: str, text: str, place: str) -> None:
    found = fault(written(tmp_path / name, text))
    assert "NUL" in found.reason and found.place == f"{tmp_path / name}:{place}" and "anew" in found.remedy


def test_nesting_without_end_is_a_bad_line(tmp_path: Path) -> None:
    found = fault(written(tmp_path / "d.jsonl", '{"a": ' + "[" * 100_000 + "\n"))
    assert found.place == f"{tmp_path}/d.jsonl:1" and found.reason.startswith("is not JSON")


@pytest.mark.parametrize(
    ("line", "said"),
    [("{'a': 'b'}", "double quotes"), ('{"a": "b"', "cut off"), ('{"a": 1}{"a": 2}', "one object a line")],
)
def test_what_to_write_instead_is_said(tmp_path: Path, line: str, said: str) -> None:
    assert said in fault(written(tmp_path / "d.jsonl", line + "\n")).remedy


def test_a_line_may_be_giant(tmp_path: Path) -> None:
    text = "word " * (10 << 20)
    path = written(tmp_path / "d.jsonl", json.dumps({"text": text}) + '\n{"text": "x"}\n')
    rows = rows_of(source_of(path))
    assert len(next(rows).value["text"]) == len(text) and next(rows).origin == f"{path}:2"


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop.jsonl").symlink_to("/proc/self/mem")
    found = fault(tmp_path / "loop.jsonl")
    assert found.reason.startswith("cannot be read") and found.remedy


def test_a_folder_is_read_through_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    written(tmp_path / "c.txt", "three")
    written(tmp_path / "b" / "x.csv", "text\ntwo\n")
    written(tmp_path / "a.jsonl", '{"text": "one"}\n')
    written(tmp_path / "README.md", "not rows")
    found = [(row.origin, row.value["text"]) for row in rows_of(source_of(tmp_path))]
    assert found == [
        (f"{tmp_path}/a.jsonl:1", "one"),
        (f"{tmp_path}/b/x.csv:2", "two"),
        (f"{tmp_path}/c.txt:1", "three"),
    ]


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "README.md", "not rows")
    found = fault(tmp_path)
    assert "holds no .jsonl" in found.reason and found.place == str(tmp_path)


def test_a_missing_file_is_refused_with_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", "{}")
    found = fault(tmp_path / "trian.jsonl")
    assert found.reason == "there is no such file"
    assert found.place == f"{tmp_path}/trian.jsonl"
    assert "holds: train.jsonl" in found.remedy


@pytest.mark.parametrize("path", ["./rows", "a/b/rows", "/no/such/folder", "rows.csv"])
def test_what_cannot_be_a_name_on_the_hub_is_a_missing_file(path: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        files_of(source_of(path))


def test_a_name_on_the_hub_has_no_local_files() -> None:
    assert files_of(source_of("owner/rows")) == []


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    found = fault(written(tmp_path / "d.xlsx", "x"))
    assert found.reason == "has the unknown suffix '.xlsx'"
    assert ".jsonl" in found.remedy and ".parquet" in found.remedy


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write_jsonl(tmp_path / "d.jsonl", [{"a": 1}])
    assert files_of(source_of("~/d.jsonl")) == [path]


def test_columns_are_renamed_beside_their_own_names(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"q": "Why?", "instruction": "old"}, {"a": "So."}])
    values = [value for _, value in read(path, columns={"instruction": "q", "output": "a"})]
    assert values == [{"q": "Why?", "instruction": "Why?"}, {"a": "So.", "output": "So."}]


def test_two_columns_can_change_places(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"human": "A", "assistant": "B"}])
    assert read(path, columns={"human": "assistant", "assistant": "human"})[0][1] == {"human": "B", "assistant": "A"}


def test_only_the_first_rows_are_read_over_all_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"n": 1}, {"n": 2}])
    written(tmp_path / "b.jsonl", '{"n": 3}\nbroken\n')
    assert [row.value["n"] for row in rows_of(source_of(tmp_path, rows=3))] == [1, 2, 3]


def test_a_dataset_that_the_hub_cannot_give_is_refused_with_its_name(
    world: World, write_recipe: Callable[..., Path], luthier: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = write_recipe(world.recipe(data={"train": [{"path": "nobody-has/these-rows"}]}))
    done = luthier("show", file)
    assert done.returncode == 2
    assert "nobody-has/these-rows: cannot be had from the hub: " in done.stderr
    assert "-> check the name and the connection, or give a local file" in done.stderr
    assert "Traceback" not in done.stderr


# Packed and saved otherwise.


def saved(path: Path, values: list[dict[str, Any]]) -> Path:
    datasets.Dataset.from_list(values).save_to_disk(str(path))
    return path


VALUES = [{"human": f"Where is {n}?", "assistant": "é" * n} for n in range(5)]


def test_zstd_is_undone_on_the_way(tmp_path: Path) -> None:
    text = "".join(json.dumps(value) + "\n" for value in VALUES).encode()
    path = tmp_path / "d.jsonl.zst"
    with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(text)
    assert read(path) == [(str(number), value) for number, value in enumerate(VALUES, 1)]
    assert files_of(source_of(tmp_path)) == [path] and plain_size(path) == len(text)
    path.write_bytes(path.read_bytes()[:-9])
    assert fault(path).reason.startswith("cannot be read")


def test_a_saved_dataset_is_read_by_its_own_list(tmp_path: Path) -> None:
    path = saved(tmp_path / "one", VALUES)
    saved(tmp_path / "other", VALUES[:1])
    (tmp_path / "other" / "data-00000-of-00001.arrow").rename(path / "cache-1.arrow")
    name = path / "data-00000-of-00001.arrow"
    found = list(rows_of(source_of(path)))
    assert [(row.origin, row.value) for row in found] == [(f"{name}:#{n}", v) for n, v in enumerate(VALUES, 1)]
    assert [row.value for row in rows_of(source_of(path, split="train[40%:]"))] == VALUES[2:]
    (path / "state.json").write_text("{}")
    assert fault(path).place == str(path / "state.json")


def test_the_split_of_saved_datasets_is_the_one_that_is_named(tmp_path: Path) -> None:
    parts = {"train": VALUES, "test": VALUES[:2]}
    datasets.DatasetDict({name: datasets.Dataset.from_list(one) for name, one in parts.items()}).save_to_disk(
        str(tmp_path / "both")
    )
    for split, expected in (("train", VALUES), ("test", VALUES[:2]), ("test[:1]", VALUES[:1])):
        assert [row.value for row in rows_of(source_of(tmp_path / "both", split=split))] == expected
    assert "'valid' (splits: test, train)" in fault(tmp_path / "both", split="valid").reason


@pytest.mark.parametrize("form", ["stream", "file"])
def test_arrow_files_of_both_forms_are_read(tmp_path: Path, form: str) -> None:
    table, path = pyarrow.Table.from_pylist(VALUES), tmp_path / "d.arrow"
    opened = pyarrow.ipc.new_stream if form == "stream" else pyarrow.ipc.new_file
    with opened(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert read(path) == [(f"#{number}", value) for number, value in enumerate(VALUES, 1)]
    assert read(path, split="train[-2:]") == [("#4", VALUES[3]), ("#5", VALUES[4])]
    path.write_bytes(b"words")
    assert fault(path).reason.startswith("is not Arrow")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["Where is the mill?", "磨坊在哪里?它在山上,大家都知道。"])
def test_utf_16_without_a_mark_is_told_by_its_zeros(tmp_path: Path, encoding: str, text: str) -> None:
    line = json.dumps({"human": text, "assistant": "Here."}, ensure_ascii=False) + "\n"
    path = written(tmp_path / "d.jsonl", (line * 3).encode(encoding))
    assert encoding_of(path) == encoding
    assert [value["human"] for _, value in read(path)] == [text] * 3


def test_a_file_full_of_zeros_is_no_utf_16(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", b'{"a": 1}\n' + b"\0" * 4096)
    assert encoding_of(path) == "utf-8" and "NUL" in fault(path).reason
