from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from luthier.dialects import read
from luthier.explain.annotate import annotate
from luthier.explain.beside import BAR, WIDTH, Printed, beside, wrapped
from tests.explain.files import FILES

YAML = ("axolotl", "chatglm3", "luthier")


def printed(dialect: str, tmp_path: Path, lang: str) -> list[Printed]:
    name, text = FILES[dialect]
    (tmp_path / name).write_text(text, encoding="utf-8")
    return list(beside(annotate(tmp_path / name, lang)))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("dialect", FILES)
def test_without_the_explanations_it_is_the_file(dialect: str, lang: str, tmp_path: Path) -> None:
    lines = printed(dialect, tmp_path, lang)
    kept = [one.text for one in lines if one.text or not one.said]
    assert "\n".join(kept) == FILES[dialect][1]
    assert sum(bool(one.said) for one in lines) > 3


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("dialect", YAML)
def test_explained_yaml_still_means_the_same(dialect: str, lang: str, tmp_path: Path) -> None:
    lines = printed(dialect, tmp_path, lang)
    path = tmp_path / FILES[dialect][0]
    before = read(path)
    path.write_text("\n".join(one.text + one.said for one in lines), encoding="utf-8")
    after = read(path)
    assert after.recipe == before.recipe
    assert [(one.key, one.value) for one in after.accounts] == [(one.key, one.value) for one in before.accounts]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("dialect", FILES)
def test_explanations_keep_to_the_width(dialect: str, lang: str, tmp_path: Path) -> None:
    for one in printed(dialect, tmp_path, lang):
        assert not one.said or cell_len(one.text + one.said) <= WIDTH + 4


def test_a_short_one_stands_after_its_line_and_a_long_one_above(tmp_path: Path) -> None:
    lines = printed("axolotl", tmp_path, "en")
    texts = [one.text for one in lines]
    assert lines[texts.index("num_epochs: 1")].said == "  # Passes over the data; fractions are allowed."
    decay = texts.index("weight_decay: 0.1")
    assert lines[decay].said == "" and lines[decay - 1].said.startswith("# ") and lines[decay - 1].text == ""


def test_a_users_own_comment_is_not_written_behind(tmp_path: Path) -> None:
    for one in printed("axolotl", tmp_path, "en"):
        assert not ("#" in one.text and one.said)


@pytest.mark.parametrize("dialect", sorted(set(FILES) - set(YAML)))
def test_where_there_are_no_comments_a_bar_stands_before(dialect: str, tmp_path: Path) -> None:
    lines = printed(dialect, tmp_path, "en")
    assert all(one.text == "" and one.said.lstrip().startswith(BAR) for one in lines if one.said)


def test_several_keys_on_a_line_are_told_by_name(tmp_path: Path) -> None:
    said = [one.said.strip() for one in printed("firefly", tmp_path, "en")]
    assert any(one.startswith(f"{BAR}template_name: ") for one in said)
    assert any(one.startswith(f"{BAR}train_mode: ") for one in said)


@pytest.mark.parametrize(
    "text", ["one two three four", "一二三四五六七八九十", "混合 text 与中文,以及 words", "averyverylongword"]
)
@pytest.mark.parametrize("width", [5, 9, 40])
def test_wrapping_loses_no_character(text: str, width: int) -> None:
    lines = list(wrapped(text, width))
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(line) <= max(width, 17) for line in lines)


def test_a_line_does_not_start_with_a_closing_mark() -> None:
    assert list(wrapped("一二三四。五", 8)) == ["一二三四。", "五"]
