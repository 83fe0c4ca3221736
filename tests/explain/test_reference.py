from __future__ import annotations

import re

import pytest

from luthier.explain.catalogue import made_by, sections, settings, tables
from luthier.explain.labels import typeset
from luthier.explain.reference import reference
from tools.reference import PAGES


@pytest.mark.parametrize("lang", PAGES)
def test_the_page_is_current(lang: str) -> None:
    assert PAGES[lang].read_text(encoding="utf-8") == reference(lang), "run python -m tools.reference"


@pytest.mark.parametrize("lang", PAGES)
def test_every_setting_has_exactly_one_row(lang: str) -> None:
    rows: list[str] = []
    section = ""
    for line in reference(lang).splitlines():
        if head := re.match(r"## (?:`(.+)`|.+)$", line):
            section = f"{head[1]}." if head[1] else ""
        elif (row := re.match(r"\| `([a-z_0-9]+)` \|", line)) and line.count(" | ") >= 5:
            rows.append(section + row[1])
    assert rows == sorted(settings(), key=_place)


def _place(name: str) -> tuple[int, int]:
    groups = list(dict.fromkeys(one.rpartition(".")[0] for one in settings()))
    return groups.index(name.rpartition(".")[0]), list(settings()).index(name)


@pytest.mark.parametrize("lang", PAGES)
def test_every_key_that_makes_a_setting_is_in_the_index(lang: str) -> None:
    index = reference(lang).partition("## Keys of other systems" if lang == "en" else "## 其他系统的键")[2]
    listed = set(re.findall(r"^\| `(.+?)` \|", index, re.MULTILINE))
    keys = {name for table in tables() for row in table.rows if made_by(row) for name in row.names}
    assert {key.removeprefix("training_args.").replace(".*.", ".") for key in keys} == listed


@pytest.mark.parametrize("lang", PAGES)
def test_tables_have_as_many_cells_in_every_line(lang: str) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", reference(lang), re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_a_row_names_the_setting_in_every_system() -> None:
    row = next(line for line in reference("en").splitlines() if line.startswith("| `rank` |"))
    for key in ("`lora_r` Axolotl, PEFT sft", "`lora_rank` Firefly", "`peft_config.r` ChatGLM3"):
        assert key in row


def test_sections_are_described() -> None:
    page = reference("zh")
    assert all(typeset(one.words.zh) in page for one in sections().values() if "." not in one.name)
