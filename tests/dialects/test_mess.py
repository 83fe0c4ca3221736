"""Random files for every reader and every dialect: a reading whose accounts add up, or an error of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.dialects.companion import named_document
from luthier.dialects.document import Document
from luthier.dialects.json_document import load_json
from luthier.dialects.names import log_level, strategy
from luthier.dialects.plain_values import flag, mapping, number, whole
from luthier.dialects.reading import Outcome
from luthier.dialects.table import Cannot
from luthier.dialects.tabular import TableDialect
from luthier.dialects.training_arguments_dump import load_dump
from luthier.dialects.typography import called, control_faults, key_problem, plain, value_problem
from luthier.errors import RecipeError
from luthier.registry import names, resolve

WORD = st.text("abcXYZ09_./-", min_size=1, max_size=12)
ODD = st.sampled_from(
    ["", " ", "\u200b", "\u201clora\u201d", "１６", "1e400", "-1", "nan", "true", "no", "../../x", "[red]"]
)
SCALAR = st.none() | st.booleans() | st.integers(-(10**6), 10**18) | st.floats() | WORD | ODD
SHAPE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3), max_leaves=6
)
DIALECTS = [name for name in names("dialects") if isinstance(resolve("dialects", name), TableDialect)]


def written(name: str, tree: dict[str, Any]) -> str:
    """A file of the dialect's own kind: a command line, JSON or YAML."""
    if name in ("firefly", "peft_sft"):
        return json.dumps(finite(tree))
    return yaml.safe_dump(tree, sort_keys=False)


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not -1e300 < value < 1e300 else value


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """``a.*.b`` -> a list of one mapping; where a value stands on the way, it stays."""
    parts = key.split(".")
    place: Any = tree
    for part, after in pairwise(parts):
        if isinstance(place, list):
            place[:] = place or [{}]
            place = place[0]
        else:
            place = place.setdefault(part, [] if after == "*" else {})
        if not isinstance(place, list | dict):
            return
    if isinstance(place, list):
        place.append(value)
    else:
        place[parts[-1]] = value


def keys_of(name: str) -> list[str]:
    return sorted({key for row in resolve("dialects", name).rows for key in row.names})


@st.composite
def files(draw: st.DrawFn, name: str, values: st.SearchStrategy[Any]) -> str:
    tree: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(keys_of(name)) | WORD.filter(lambda one: "." not in one), max_size=12)):
        put(tree, key, draw(values))
    return written(name, tree)


@pytest.mark.parametrize("name", DIALECTS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_values_of_a_dialects_own_keys_give_a_reading_or_an_error_of_ours(name: str, data: st.DataObject) -> None:
    text = data.draw(files(name, SHAPE))
    try:
        reading = resolve("dialects", name).read(text, "/nowhere/file", ())
    except RecipeError as refused:
        told = [fault.reason and fault.place for fault in refused.faults]
    else:
        told = [account.key and account.place for account in reading.accounts]
        json.dumps(reading.tree(), default=str).encode()
    assert all(told)


@pytest.mark.parametrize("name", DIALECTS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_leaf_of_a_file_has_one_account(name: str, data: st.DataObject) -> None:
    text = data.draw(files(name, SCALAR))
    dialect = resolve("dialects", name)
    try:
        accounts = dialect.read(text, "/nowhere/file", ()).accounts
    except RecipeError:
        return
    spoken = [one for one in accounts if one.outcome is not Outcome.DEFAULT and re.match("/nowhere/file:", one.place)]
    whole = {row.name for row in dialect.rows if row.whole}
    document: Document = dialect.parse(text, "/nowhere/file")
    leaves = {
        next(
            (".".join(map(str, path[:end])) for end in range(1, len(path)) if masked(path[:end]) in whole), dotted(path)
        )
        for path, _ in document.leaves()
    }
    assert sorted(one.key for one in spoken) == sorted(leaves)


def dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


def masked(path: tuple[str | int, ...]) -> str:
    return ".".join("*" if isinstance(part, int) else str(part) for part in path)


PRINTED = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**15), 10**15), st.floats(-1e30, 1e30), WORD.map("run".__add__),
    st.lists(st.integers() | st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.floats(0, 1), max_size=3),
)  # fmt: skip


@given(st.dictionaries(st.from_regex(r"\A[a-z_]{1,12}\Z"), PRINTED, max_size=12))
@settings(deadline=None)
def test_printed_arguments_read_back(arguments: dict[str, Any]) -> None:
    text = "TrainingArguments(\n" + "".join(f"{key}={value},\n" for key, value in arguments.items()) + ")\n"
    assert load_dump(text, "d").value == arguments


@given(
    st.text(max_size=200)
    | st.text("TrainingArguments(=,[]{}'\"<>:.\\\n -1e5_Nonetru\u200b\uff1d", max_size=120)
    | st.lists(st.tuples(WORD, st.text(max_size=30))).map(
        lambda rows: "".join(f"{key}={value},\n" for key, value in rows)
    )
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_dump_or_an_error_of_ours(text: str) -> None:
    for source in (text, f"TrainingArguments(\n{text}\n)\n"):
        try:
            document = load_dump(source, "d")
        except RecipeError as refused:
            told = [fault.place.startswith("d") and fault.reason and fault.remedy for fault in refused.faults]
        else:
            told = [place.startswith("d:") for place in map(document.place, ((key,) for key in document.value))]
            json.dumps(document.value).encode()
        assert all(told)


@pytest.mark.parametrize(
    "value",
    [
        '"\\ud800"',
        "['\\ud800']",
        "{1, 2}",
        "[" * 60,
        "[" + "-" * 90_000 + "1]",
        '"C:\\data\\d',
        "[1e999]",
        "[" + "9" * 5000 + "]",
    ],
)
def test_values_that_python_would_not_print_are_refused(value: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_dump(f"TrainingArguments(\na=1,\nb={value},\n)\n", "d")
    [fault] = caught.value.faults
    assert fault.place == "d:3" and "cannot be read" in fault.reason and len(fault.reason) < 100


def test_backslashes_in_a_printed_text_are_kept() -> None:
    assert load_dump('TrainingArguments(\na="C:\\data",\n)\n', "d").value == {"a": "C:\\data"}


def test_typography_in_the_names_of_a_dump_is_told() -> None:
    with pytest.raises(RecipeError) as caught:
        load_dump("TrainingArguments(\nlora\u200b_r=8,\nbf16\uff1dTrue,\n)\n", "d")
    assert [fault.place for fault in caught.value.faults] == ["d:2", "d:3"]
    assert "U+200B" in caught.value.faults[0].reason and "U+FF1D" in caught.value.faults[1].reason


@given(st.text(max_size=40))
def test_what_is_plain_has_no_problem(text: str) -> None:
    likely = "".join(one for one in plain(text) if not control_faults(one, "")).strip()
    assert key_problem(likely) is None and value_problem(likely) is None


def test_characters_are_called_by_their_names() -> None:
    assert called("\u202e") == "U+202E (right-to-left override)" and called("\x1b") == "U+001B (a control character)"


@pytest.mark.parametrize("convert", [number, whole, flag, mapping, strategy, log_level])
@pytest.mark.parametrize("value", ["x" * 100_000, "1" * 5000, [0] * 50_000, 10**3000, "1e400", "\u200b"])
def test_a_value_that_cannot_be_taken_is_told_shortly(convert: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(Cannot) as caught:
        convert(value)
    assert len(str(caught.value)) < 300


def test_settings_in_json_text_are_read_as_json_is_elsewhere() -> None:
    assert mapping('{"a": 1}') == {"a": 1}
    for text in ('{"a": NaN}', '{"a": 1, "a": 2}', '{"a": "\\ud800"}', "{" * 60):
        with pytest.raises(Cannot, match="not JSON"):
            mapping(text)


DEEPSPEED = '{"train_batch_size": 8}'


def test_a_named_file_is_found_beside_the_recipe_and_above_it(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "ds.json").write_text(DEEPSPEED)
    for path in ("ds.json", "../../ds.json", str(tmp_path / "ds.json")):
        assert named_document(path, inner, load_json).value == {"train_batch_size": 8}, path


def test_what_is_no_settings_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(DEEPSPEED)
    (tmp_path / "dir.json").mkdir()
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for path in ("secret", "/etc/passwd", "dir.json", "zero.json", "none.json", "a\0.json", "x/" * 5000 + ".json"):
        assert named_document(path, tmp_path, load_json).value == {}, path


@pytest.mark.parametrize("content", ['{"pin": "hunter2"}', "hunter2", '{"hunter2": 1, "hunter2": 2}', '["hunter2"]'])
def test_what_a_file_elsewhere_holds_is_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.json").write_text(content)
    (tmp_path / "recipes" / "link.json").symlink_to(tmp_path / "other" / "secret.json")
    for path in ("../other/secret.json", str(tmp_path / "other" / "secret.json"), "link.json"):
        with pytest.raises(RecipeError) as caught:
            named_document(path, tmp_path / "recipes", load_json)
        assert "hunter2" not in str(caught.value) and path in str(caught.value)
