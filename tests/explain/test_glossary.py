from __future__ import annotations

import re

import pytest

from luthier.dialects.table import Row
from luthier.explain.catalogue import made_by, tables
from luthier.explain.glossary import key_words, words_in

HAN = re.compile(r"[\u4e00-\u9fff]")

SILENT = [(table.name, row) for table in tables() for row in table.rows if not made_by(row)]


@pytest.mark.parametrize(("table", "row"), SILENT, ids=[f"{table} {row.name}" for table, row in SILENT])
def test_every_key_that_makes_no_setting_has_words_in_both_languages(table: str, row: Row) -> None:
    words = key_words(table, row)
    assert words is not None, f"words/{table}.toml has no [{row.name!r}]"
    english, chinese = words
    assert len(english) > 15 and english.endswith((".", ")")) and not HAN.search(english)
    assert len(chinese) > 5 and chinese.endswith(("。", "）")) and HAN.search(chinese)


@pytest.mark.parametrize("table", [table.name for table in tables()])
def test_every_entry_is_about_a_key(table: str) -> None:
    names = {row.name for one in tables() for row in one.rows}
    known = names | {name.removeprefix("training_args.") for name in names}
    assert [name for name in words_in(table) if name not in known] == []


def test_a_dialect_has_its_own_words_before_shared_ones() -> None:
    rows = {(table.name, row.name): row for table in tables() for row in table.rows}
    shared = words_in("training_arguments")["remove_unused_columns"]
    assert key_words("chatglm3", rows["chatglm3", "training_args.remove_unused_columns"]) == shared
    assert "remove_unused_columns" not in words_in("chatglm3")


def test_another_packages_dialect_has_no_file_and_no_words() -> None:
    assert words_in("stranger") == {} and key_words("stranger", Row("its_key")) is None
