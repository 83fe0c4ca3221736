"""Configuration files as plain values: two versions of YAML, places, and nothing that a file could do to us."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from luthier.dialects.document import LARGEST_FILE, MOST_KEYS, MOST_NODES, load_yaml, parse_scalar, read_text, to_yaml
from luthier.dialects.typography import key_problem, value_problem
from luthier.errors import RecipeError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEY = TEXT.filter(lambda key: key_problem(key) is None)


def json_of(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
        max_leaves=20,
    )


def faults_of(text: str, version: str = "1.2") -> list[tuple[str, str]]:
    """(place, reason) of everything that is wrong with a text."""
    with pytest.raises(RecipeError) as caught:
        load_yaml(text, "f.yaml", version=version)
    return [(fault.place, fault.reason) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("scalar", "new", "old"),
    [
        ("2e-5", 2e-5, "2e-5"),
        ("2.0e-5", 2e-5, 2e-5),
        ("1E5", 1e5, "1E5"),
        ("on", "on", True),
        ("No", "No", False),
        ("true", True, True),
        ("FALSE", False, False),
        ("y", "y", "y"),
        ("012", 12, 10),
        ("-012", -12, -10),
        ("08", 8, "08"),
        ("0o17", 15, "0o17"),
        ("0x1F", 31, 31),
        ("-0x1F", "-0x1F", -31),
        ("0b101", "0b101", 5),
        ("1_000", "1_000", 1000),
        ("1_0.5", "1_0.5", 10.5),
        ("1:30", "1:30", "1:30"),
        ("190:20:30.15", "190:20:30.15", "190:20:30.15"),
        ("~", None, None),
        ("", None, None),
        ("null", None, None),
        (".inf", math.inf, math.inf),
        ("-.INF", -math.inf, -math.inf),
        ("1e400", math.inf, "1e400"),
        ("2024-01-01", "2024-01-01", "2024-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("+5", 5, 5),
        ("5.", 5.0, 5.0),
        (".5", 0.5, 0.5),
        ("=", "=", "="),
        ("'5'", "5", "5"),
        ('"on"', "on", "on"),
        ("!!str 5", "5", "5"),
        ("!!float 5", 5.0, 5.0),
    ],
)
def test_scalars_read_as_their_version_of_yaml_says(scalar: str, new: Any, old: Any) -> None:
    for version, expected in (("1.2", new), ("1.1", old)):
        found = load_yaml(f"key: {scalar}", "f", version=version).value["key"]
        assert found == expected and type(found) is type(expected), version


def test_nan_is_nan() -> None:
    assert math.isnan(load_yaml("a: .nan", "f").value["a"])


@pytest.mark.parametrize(
    "scalar", ["on", "off", "yes", "no", "1_000", "0x1F", "-0b1", "+12", "1.5", "-.inf", "~", "017"]
)
def test_version_1_1_reads_what_pyyaml_reads(scalar: str) -> None:
    assert load_yaml(f"a: {scalar}", "f", version="1.1").value == yaml.safe_load(f"a: {scalar}")


@given(json_of(TEXT.filter(lambda text: value_problem(text) is None)))
@settings(deadline=None)
def test_what_pyyaml_writes_reads_back_under_version_1_1(value: Any) -> None:
    for text in (yaml.safe_dump(value), yaml.safe_dump(value, default_flow_style=True, width=30)):
        assert load_yaml(text, "f", version="1.1").value == value


@given(json_of(TEXT))
@example("12e4")
@example("\u201c\u4f60\u597d\u201d")
@example("a\u200b")
@example("a\x85b \u2028")
@example("0o17")
@settings(deadline=None)
def test_what_we_write_reads_back_under_both_versions(value: Any) -> None:
    for version in ("1.1", "1.2"):
        assert load_yaml(to_yaml(value), "f", version=version).value == value


@given(
    st.text(max_size=60) | st.text("[]{}:,-?!&*#|>'\"%@ \n\tab01.<=~_xobe+", max_size=60),
    st.sampled_from(["1.1", "1.2"]),
)
@settings(max_examples=400, deadline=None)
def test_whatever_the_text_only_our_error_is_raised(text: str, version: str) -> None:
    try:
        document = load_yaml(text, "f", version=version)
    except RecipeError as refused:
        told = [fault.place.startswith("f") and bool(fault.reason) for fault in refused.faults]
    else:
        told = [1 <= line <= 61 for line in document.lines.values()]
    assert all(told)


@pytest.mark.parametrize("scalar", ["0b_", "0x_", "!!int foo", "!!float foo", "!!bool maybe", "9" * 5000])
def test_numbers_that_are_none_are_told_with_their_line(scalar: str) -> None:
    [(place, reason)] = faults_of(f"a: 1\nb: {scalar}", "1.1")
    assert place == "f.yaml:2" and "cannot be read as" in reason and len(reason) < 100


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [echo]",
        "a: !!python/object:os.system {x: 1}",
        "a: !!python/name:os.system x",
        "!!python/name:os.system a: 1",
        "a: !!binary aGk=",
        "a: !!set {b, c}",
        "a: !mine b",
        "a: !mine [b]",
        "!!omap [a: 1]",
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_tags_are_refused_wherever_they_stand(text: str, version: str) -> None:
    [(place, reason)] = faults_of(f"x: 1\ny:\n  - {text}\n", version)
    assert place == "f.yaml:3" and "is not allowed in a configuration file" in reason


def test_a_key_written_twice_is_told_with_both_lines() -> None:
    assert faults_of("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n") == [
        ("f.yaml:5", "'c' is written twice (first on line 3)"),
        ("f.yaml:6", "'a' is written twice (first on line 1)"),
    ]


def test_the_same_key_in_two_mappings_is_no_fault() -> None:
    assert load_yaml("- {a: 1}\n- {a: 2}\n", "f").value == [{"a": 1}, {"a": 2}]


def test_a_key_that_is_no_word_is_refused() -> None:
    assert faults_of("a: 1\n? [b]\n: 2\n") == [("f.yaml:2", "a key must be a word")]


def test_keys_are_kept_as_they_are_written() -> None:
    assert load_yaml("on: 1\n2: x\n1e5: y\n", "f", version="1.1").value == {"on": 1, "2": "x", "1e5": "y"}


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_merge_keys_lie_under_the_keys_beside_them(version: str) -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\none:\n  x: 9\n  <<: *b\ntwo:\n  <<: [*o, *b]\n"
    value = load_yaml(text, "f", version=version).value
    assert value["one"] == {"x": 9, "y": 2}
    assert value["two"] == {"x": 1, "y": 3, "z": 4}


def test_a_merged_key_stands_where_it_was_written() -> None:
    document = load_yaml("base: &b\n  x: 1\n  y: 2\none:\n  x: 9\n  <<: *b\n", "f")
    assert document.place(("one", "x")) == "f:5"
    assert document.place(("one", "y")) == "f:3"


@pytest.mark.parametrize("merged", ["5", "[5]", "text", "~"])
def test_merging_what_is_no_mapping_is_refused(merged: str) -> None:
    assert faults_of(f"a: 1\nb:\n  <<: {merged}\n") == [("f.yaml:3", "<< takes a mapping or a list of mappings")]


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert load_yaml("'<<': {a: 1}\n", "f").value == {"<<": {"a": 1}}


def test_aliases_are_written_out() -> None:
    value = load_yaml("a: &x [1, {b: 2}]\nc: *x\n", "f").value
    assert value["c"] == [1, {"b": 2}] and value["c"] is not value["a"]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "&a [*a]",
        "&a {x: *a}",
        "&a {<<: *a}",
        "[" * 1_000_000,
        "- " * 500_000,
        "{a: " * 250_000,
        "? " * 400_000,
        "\n".join(" " * depth + "a:" for depth in range(1200)),
        "[" + "a," * (MOST_NODES + 1) + "]",
    ],
    ids=["bomb", "cycle", "mapping cycle", "merge cycle", "flow", "block", "mappings", "keys", "indented", "long"],
)
def test_what_would_unfold_without_end_is_refused_at_once(text: str) -> None:
    begun = time.process_time()
    [(_, reason)] = faults_of(text)
    assert "unfolds to more than" in reason
    assert time.process_time() - begun < 1


def test_reasonable_nesting_is_let_through() -> None:
    value: Any = 1
    for _ in range(39):
        value = [value]
    assert load_yaml(yaml.safe_dump(value), "f").value == value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: [1\nc: 2\n", "f.yaml:3"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2"),
        ("a: *x\n", "f.yaml:1"),
        ("a: b: c\n", "f.yaml:1"),
        ("a:\n  b: 'x\n", "f.yaml:3"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, place: str) -> None:
    [(found, reason)] = faults_of(text)
    assert found == place and reason.startswith("is not YAML: ")


@pytest.mark.parametrize("text", ["", "\n\n", "# only words\n", "---\n", "~"])
def test_an_empty_file_is_no_value(text: str) -> None:
    document = load_yaml(text, "f")
    assert document.value is None and list(document.leaves()) == []


def test_every_key_knows_its_line_and_other_places_the_nearest_one_above() -> None:
    document = load_yaml("a: 1\n\n# words\nb:\n  c:\n    - d: 1\n      e: 2\n    - 5\n", "f.yaml")
    expected = {("a",): 1, ("b",): 4, ("b", "c"): 5, ("b", "c", 0): 6, ("b", "c", 0, "e"): 7, ("b", "c", 1): 8}
    assert {path: document.place(path) for path in expected} == {path: f"f.yaml:{n}" for path, n in expected.items()}
    assert document.place(("b", "missing", "below")) == "f.yaml:4"
    assert document.place(("missing",)) == "f.yaml:1"


def test_leaves_are_the_values_in_the_order_of_the_file() -> None:
    document = load_yaml("b: {x: 1, y: {}}\na: [1, 2]\nc: [{d: 1}, {e: [{f: 2}]}]\ng: []\n", "f")
    assert list(document.leaves()) == [
        (("b", "x"), 1),
        (("b", "y"), {}),
        (("a",), [1, 2]),
        (("c", 0, "d"), 1),
        (("c", 1, "e", 0, "f"), 2),
        (("g",), []),
    ]


@pytest.mark.parametrize(
    ("word", "value"), [("2e-5", 2e-5), ("[a, 1]", ["a", 1]), ("on", "on"), ("", None), ("{a: 1}", {"a": 1})]
)
def test_a_word_reads_as_in_a_version_1_2_file(word: str, value: Any) -> None:
    assert parse_scalar(word) == value


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: |\r\n  x\r\n  y\r\nc: 2\rd: 3\r\n")
    document = load_yaml(read_text(path), "f")
    assert document.value == {"a": 1, "b": "x\ny\n", "c": 2, "d": 3}
    assert document.lines["d",] == 6


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: \xff\xfe", r"is not UTF-8 text \(byte 3\)"),
        ("a: 1".encode("utf-16"), "is UTF-16 text, not UTF-8"),
        ("a: 1".encode("utf-16-le"), "binary"),
        ("a: 1  # 模型的路径\n".encode("gb18030"), "probably GBK"),
        (b"a: \xed\xa0\x80", "is not UTF-8 text"),
        (b"a: \x1b[31mred", r"the control character '\\x1b'"),
        (b"a" * (LARGEST_FILE + 1), "over 1 MB"),
    ],
    ids=["bytes", "utf-16", "zeros", "gbk", "surrogate", "escape", "large"],
)
def test_what_is_no_text_of_a_configuration_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=reason) as caught:
        read_text(path)
    [fault] = caught.value.faults
    assert fault.place.removesuffix(":1") == str(path) and fault.remedy


def test_a_line_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"a: 1\nb: 2\nc: \xff\n")
    with pytest.raises(RecipeError) as caught:
        read_text(path)
    assert caught.value.faults[0].place == f"{path}:3"


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in (("pipe", "no ordinary file"), ("zero", "no ordinary file"), ("loop", "cannot be read")):
        with pytest.raises(RecipeError, match=reason):
            read_text(tmp_path / name)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_text(Path("a\0b"))


def test_a_file_of_just_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"a" * LARGEST_FILE)
    assert len(read_text(path)) == LARGEST_FILE


def test_a_missing_file_and_a_folder_are_told_apart_from_bad_text(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        read_text(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="folder"):
        read_text(tmp_path)


@pytest.mark.parametrize(
    ("text", "place", "reason", "remedy"),
    [
        ("a: 1\nlora_r\uff1a8\nb: 2\n", "f.yaml:2", "behind lora_r stands U+FF1A", "write lora_r: "),
        ("lora_r\uff1a8\n", "f.yaml:1", "behind lora_r stands U+FF1A", "write lora_r: "),
        ("a: 1\nb:\u00a02\nc: 3\n", "f.yaml:2", "behind the colon of b stands U+00A0 (no-break space)", "write b: "),
        ("a:\n  b: 1\n\u3000\u3000c: 2\n", "f.yaml:3", "holds U+3000 (ideographic space)", "write c"),
        ("a:\n\u3000- b\n- c\n", "f.yaml:2", "indented with U+3000", "use spaces"),
        ("a:\n\tb: 1\n", "f.yaml:2", "indented with a tab", "use spaces"),
        ("lora\u200b_r: 8\n", "f.yaml:1", "'lora\\u200b_r' holds U+200B (zero width space)", "write lora_r"),
        ("\u201clora_r\u201d: 8\n", "f.yaml:1", "U+201C", "write lora_r"),
        ("lora\u2013r: 8\n", "f.yaml:1", "U+2013 (en dash)", "write lora-r"),
        ('"\\e[2J": 8\n', "f.yaml:1", "U+001B", "write [2J"),
        ("a: 2e-5\u200b\n", "f.yaml:1", "which cannot be seen", "put all of it in quotes"),
        ("a: \u201clora\u201d\n", "f.yaml:1", "typographic quotes", 'write "lora"'),
        ("a: 8\u00a0\n", "f.yaml:1", "begins or ends with U+00A0", "remove it"),
        ("a: 0x" + "f" * 5000, "f.yaml:1", "cannot be read as int", "quotes"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2", "another document", "one document a file"),
    ],
)
def test_what_typography_did_is_told_with_what_to_write(text: str, place: str, reason: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_yaml(text, "f.yaml")
    [fault] = caught.value.faults
    assert fault.place == place and reason in fault.reason and remedy in fault.remedy


def test_typography_in_quotes_and_in_words_is_kept() -> None:
    text = "a: '\u201c你好\u201d'\nb: 他说\u201c好\u201d\uff1a是\nc: \"x\u200b\"\n"
    value = load_yaml(text, "f").value
    assert value == {"a": "\u201c你好\u201d", "b": "他说\u201c好\u201d\uff1a是", "c": "x\u200b"}
    assert parse_scalar("Q\uff1a{}") == "Q\uff1a{}"


def test_every_line_of_one_kind_is_told_at_once() -> None:
    places = [place for place, _ in faults_of("a\uff1a1\nb: 2\nc\uff1a3\n")]
    assert places == ["f.yaml:1", "f.yaml:3"]


def test_more_keys_than_any_recipe_has_are_refused() -> None:
    assert len(load_yaml("".join(f"k{n}: 1\n" for n in range(MOST_KEYS)), "f").value) == MOST_KEYS
    [(place, reason)] = faults_of("".join(f"k{n}: 1\n" for n in range(MOST_KEYS + 5)))
    assert place == f"f.yaml:{MOST_KEYS + 1}" and f"more than {MOST_KEYS} keys" in reason
