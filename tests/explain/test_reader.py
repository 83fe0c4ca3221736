from __future__ import annotations

from pathlib import Path

import pytest

from luthier.errors import RecipeError
from luthier.explain.annotate import annotate
from luthier.explain.reader import reader_of
from luthier.registry import resolve
from tests.explain.files import ACCELERATE, DEEPSPEED, FILES


@pytest.mark.parametrize("dialect", FILES)
def test_a_recipe_is_read_by_its_dialect(dialect: str) -> None:
    name, text = FILES[dialect]
    assert reader_of(text, name, None) is resolve("dialects", dialect)


def test_a_deepspeed_file_is_explained_on_its_own(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text(DEEPSPEED, encoding="utf-8")
    file = annotate(tmp_path / "ds.json", "en")
    told = {one.key: one for line in file.lines for one in line.said}
    assert file.dialect == "deepspeed" and not file.comments
    assert told["zero_optimization.stage"].setting == "parallel.stage"
    assert told["steps_per_print"].outcome == "inert"


def test_an_accelerate_file_is_explained_on_its_own(tmp_path: Path) -> None:
    (tmp_path / "fsdp.yaml").write_text(ACCELERATE, encoding="utf-8")
    file = annotate(tmp_path / "fsdp.yaml", "zh")
    told = {one.key: one for line in file.lines for one in line.said}
    assert file.dialect == "accelerate" and file.comments
    assert told["num_processes"].setting == "batch.world"
    assert told["fsdp_config"].text.endswith("。")


def test_a_named_dialect_is_taken_at_its_word() -> None:
    assert reader_of(DEEPSPEED, "ds.json", "luthier") is resolve("dialects", "luthier")
    with pytest.raises(RecipeError, match="not one of the dialects"):
        reader_of(DEEPSPEED, "ds.json", "stranger")


@pytest.mark.parametrize("text", ["", "[1, 2]", "nothing: 1\nof: 2\nthis: 3\n"])
def test_what_is_nobodys_is_left_to_luthiers_own_which_says_what_is_wrong(text: str) -> None:
    assert reader_of(text, "x", None) is resolve("dialects", "luthier")


def test_a_broken_file_is_told_in_its_own_notation() -> None:
    with pytest.raises(RecipeError, match="x:1"):
        reader_of("{ not json", "x", None)
