"""JSON with the lines of its keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.json_document import load_json
from luthier.errors import RecipeError

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=20,
)


def test_every_key_and_item_has_its_line() -> None:
    document = load_json('{\n\t"a": 1,\n\t"b": [\n\t\t{"c": 2e-4}\n\t],\n\t"d": "x\\n\\/"\n}\n', "n")
    assert document.value == {"a": 1, "b": [{"c": 2e-4}], "d": "x\n/"}
    assert document.place(("a",)) == "n:2"
    assert document.place(("b", 0, "c")) == "n:4"
    assert document.place(("d",)) == "n:6"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "n:1: is not JSON: a value is missing"),
        ('{\n"a": 1,\n}', "n:2: is not JSON: nothing follows the last ','"),
        ('{\n"a": 1\n"b": 2}', "n:3: is not JSON: ',' or '}' is missing"),
        ('{\n"a" 1}', "n:2: is not JSON: ':' is missing"),
        ("{\n// why\n}", "n:2: is not JSON: a key in double quotes is missing"),
        ('{"a": 1}\nmore', "n:2: is not JSON: text after the end"),
        ('{"a": 1,\n"a": 2}', "n:2: 'a' is written twice (first on line 1)"),
        ('{"a": NaN}', "is no value"),
        ('{"a": 1e999}', "too large a number"),
        ('{"a": ' + "9" * 5000 + "}", "too large a number"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": "x', "Unterminated string"),
        ("[" * 60, "40 levels"),
        ("[" + "1," * 60_000 + "1]", "50000 values"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_json(text, "n")
    assert said in str(caught.value)


@given(PLAIN, st.sampled_from([None, 1, "\t"]))
def test_it_reads_what_the_standard_library_writes(value: Any, indent: int | str | None) -> None:
    assert load_json(json.dumps(value, indent=indent), "n").value == value


@given(st.text(alphabet='{}[]",:0123456789eE+-.truefalsn \n\t\\ud'))
def test_it_agrees_with_the_standard_library(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(RecipeError):
            load_json(text, "n")
        return
    try:
        found = load_json(text, "n").value
    except RecipeError as error:
        said = str(error)
    else:
        assert found == expected
        return
    assert any(word in said for word in ("twice", "large", "half"))
