"""JSON with the lines of its keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.json_document import load_json
from luthier.dialects.typography import key_problem
from luthier.errors import RecipeError

KEY = st.text().filter(lambda key: key_problem(key) is None)

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEY, inner, max_size=4)),
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
        ("{\n// why\n}", "n:2: is not JSON: a comment stands here"),
        ("{\na: 1\n}", "n:2: is not JSON: a key in double quotes is missing"),
        ('{"a": True}', "n:1: is not JSON: True is no value\n  -> write true, or a number"),
        ('{"a": "x\ny"}', "a quote is not closed on its line\n  -> close it; a line break in it is"),
        ('{"a": "x\x1b[2J"}', "the control character '\\x1b'"),
        ('{"a\\u001b": 1}', "holds U+001B"),
        ('{"a\u200b": 1}', "holds U+200B (zero width space)\n  -> write a"),
        ('{"a": 1}\nmore', "n:2: is not JSON: text after the end"),
        ('{"a": 1,\n"a": 2}', "n:2: 'a' is written twice (first on line 1)"),
        ('{"a": NaN}', "is no value"),
        ('{"a": 1e999}', "too large a number"),
        ('{"a": ' + "9" * 5000 + "}", "too large a number"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": "x', "Unterminated string"),
        ("[" * 60, "40 levels"),
        ("[" + "1," * 60_000 + "1]", "20000 values"),
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
    assert any(word in said for word in ("twice", "large", "half", "the key"))


def test_everything_that_is_clearly_meant_is_told_at_once() -> None:
    text = '{\n\u201clr\u201d\uff1a1e-4\uff0c\n\'r\':\u00a08, // rank\n"b": False,\n"c": NaN,\n}'
    with pytest.raises(RecipeError) as caught:
        load_json(text, "n")
    told = [(fault.place, fault.reason.removeprefix("is not JSON: "), fault.remedy) for fault in caught.value.faults]
    assert told == [
        ("n:2", "\u201clr\u201d stands in other quotes", 'write "lr"'),
        ("n:2", "U+FF1A (fullwidth colon) stands for ':'", "write :"),
        ("n:2", "U+FF0C (fullwidth comma) stands for ','", "write ,"),
        ("n:3", "'r' stands in other quotes", 'write "r"'),
        ("n:3", "U+00A0 (no-break space) stands here", "remove it"),
        ("n:3", "a comment stands here", "remove it"),
        ("n:4", "False is no value", "write false, or a number"),
        ("n:5", "NaN is no value", "write null, or a number"),
        ("n:5", "nothing follows the last ','", "remove that ','"),
    ]


@given(
    st.text(max_size=80)
    | st.text(alphabet="{}[]\",:'/*#\u201c\u201d\uff1a\uff0c\u00a0\u200b 1eTrueNaN\n\\u", max_size=60)
)
def test_whatever_the_text_only_our_error_is_raised(text: str) -> None:
    try:
        load_json(text, "n")
    except RecipeError as refused:
        told = [fault.place.startswith("n:") and fault.reason and fault.remedy for fault in refused.faults]
    else:
        told = []
    assert all(told)
