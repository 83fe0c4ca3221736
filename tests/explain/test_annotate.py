from __future__ import annotations

import re
from pathlib import Path

import pytest

from luthier.dialects import read
from luthier.errors import RecipeError
from luthier.explain.annotate import Annotated, annotate
from tests.explain.files import FILES

HAN = re.compile(r"[\u4e00-\u9fff]")


def explained(dialect: str, tmp_path: Path, lang: str = "en") -> Annotated:
    name, text = FILES[dialect]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return annotate(path, lang)


def said(file: Annotated, key: str) -> str:
    return next(one.text for line in file.lines for one in line.said if one.key == key)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("dialect", FILES)
def test_no_character_changes_and_every_key_is_explained(dialect: str, lang: str, tmp_path: Path) -> None:
    file = explained(dialect, tmp_path, lang)
    assert file.dialect == dialect
    assert "\n".join(line.text for line in file.lines) == FILES[dialect][1]
    told = {one.key: one.text for line in file.lines for one in line.said}
    own = [one for one in read(tmp_path / FILES[dialect][0]).accounts if one.outcome != "default"]
    assert len(own) > 2
    for account in own:
        assert HAN.search(told[account.key]) if lang == "zh" else not HAN.search(told[account.key])


@pytest.mark.parametrize("dialect", FILES)
def test_an_explanation_stands_on_the_line_of_its_key(dialect: str, tmp_path: Path) -> None:
    file = explained(dialect, tmp_path)
    for line in file.lines:
        for one in line.said:
            last = [part for part in one.key.split(".") if not part.isdecimal()][-1]
            written = last in line.text or line.text.lstrip().startswith("-")
            assert written or one.key.startswith(("launcher.", "environment.")), one.key


def test_blank_lines_and_comments_have_nothing_said(tmp_path: Path) -> None:
    for line in explained("axolotl", tmp_path).lines:
        if not line.text.strip() or line.text.lstrip().startswith("#"):
            assert line.said == ()


def test_sections_lists_and_their_items_are_explained(tmp_path: Path) -> None:
    file = explained("axolotl", tmp_path)
    assert "rows" in said(file, "datasets").lower() or "data" in said(file, "datasets").lower()
    assert said(file, "lora_target_modules.0") == "One of lora_target_modules."
    assert said(explained("luthier", tmp_path), "optimizer").startswith("The optimiser and its constants.")


def test_a_key_without_effect_is_said_to_have_none(tmp_path: Path) -> None:
    strict = said(explained("axolotl", tmp_path), "strict")
    assert "No effect here: " in strict and "checks no weights" in strict
    assert "在此无效：" in said(explained("axolotl", tmp_path, "zh"), "strict")


def test_an_applied_key_is_told_with_what_is_often_misread(tmp_path: Path) -> None:
    assert "Often misread: It is no L2 penalty" in said(explained("axolotl", tmp_path), "weight_decay")
    assert "常见误解：它不是损失中的 L2 惩罚" in said(explained("axolotl", tmp_path, "zh"), "weight_decay")


def test_an_unknown_key_is_explained_as_that(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text(FILES["axolotl"][1] + "adam_betta1: 0.8\n", encoding="utf-8")
    assert "not a key of axolotl; did you mean adam_beta1?" in said(annotate(path, "en"), "adam_betta1")


@pytest.mark.parametrize(
    ("dialect", "comments"),
    [
        ("axolotl", True),
        ("chatglm3", True),
        ("luthier", True),
        ("firefly", False),
        ("peft_sft", False),
        ("training_arguments", False),
    ],
)
def test_only_yaml_has_comments_that_change_nothing(dialect: str, comments: bool, tmp_path: Path) -> None:
    assert explained(dialect, tmp_path).comments is comments


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        annotate(tmp_path / "none.yaml", "en")
