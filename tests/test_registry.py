"""Names -> code: our tables, installed packages' entry points, the user's own modules."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from luthier import registry
from luthier.errors import RecipeError
from luthier.registry import TABLES, code_of, known, names, resolve


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, rows in TABLES.items() for name in rows])
def test_every_row_of_every_table_leads_to_something(table: str, name: str) -> None:
    assert resolve(table, name) is not None


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(RecipeError, match=r"(?s)'adamv' is not one of the optimizers.*did you mean 'adamw'"):
        resolve("optimizers", "adamv")


def test_a_name_like_nothing_is_refused_with_all_there_are() -> None:
    with pytest.raises(RecipeError, match=r"(?s)choose one of: constant, cosine, .*linear"):
        resolve("schedules", "zzzzzz")


def test_the_users_own_code_is_found_by_module_and_attribute() -> None:
    import json

    assert resolve("metrics", "json:dumps") is json.dumps


@pytest.mark.parametrize("name", ["no_such_module:x", "json:no_such_attribute", ":x", "json:", ":", ".relative:x"])
def test_code_that_cannot_be_loaded_is_the_users_error(name: str) -> None:
    with pytest.raises(RecipeError, match="module:attribute"):
        resolve("metrics", name)


def test_a_fault_in_our_own_table_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES["metrics"], "broken", "luthier.evaluate.metrics:not_there")
    with pytest.raises(AttributeError):
        resolve("metrics", "broken")


def test_known_says_what_resolve_would_look_up() -> None:
    assert known("metrics", "exact_match")
    assert known("metrics", "mine:metric")
    assert not known("metrics", "mine")


def test_an_installed_package_adds_a_name_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "guitar.py").write_text("def strummed(answer, reference):\n    return 1.0\n")
    info = tmp_path / "guitar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guitar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[luthier.metrics]\nstrum = guitar:strummed\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from luthier.registry import known, names, resolve\n"
        "print(names('metrics'), 'guitar' in sys.modules, known('metrics', 'strum'))\n"
        "print(resolve('metrics', 'strum').__module__)\n"
        "from luthier.registry import code_of; print(code_of('metrics', 'strum'))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    file = tmp_path / "guitar.py"
    assert told.strip().endswith(f"'rouge-l', 'strum'] False True\nguitar\n('guitar 1.0', [{file!r}])")


def test_our_own_code_and_code_that_is_not_there_have_no_files() -> None:
    assert code_of("formats", "alpaca") == code_of("formats", "no_such_module:x") == ("", [])


def test_names_are_sorted() -> None:
    assert names("schedules") == sorted(names("schedules")) and "cosine" in names("schedules")


def test_files_beside_a_recipe_are_found_only_once_it_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else any of them would stand in for an optional package that is not installed, and be run."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "_FOLDERS", [])
    (tmp_path / "own_code.py").write_text("score = 7")
    registry.look_in(tmp_path)
    assert not registry.known("metrics", "own_code")
    assert importlib.util.find_spec("own_code") is None
    assert registry.resolve("metrics", "own_code:score") == 7
