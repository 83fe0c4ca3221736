"""Bad rows go to a file from which they can be read again once they are repaired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.data import lines
from luthier.data.corpus import examples
from luthier.data.encoder import Encoder
from luthier.data.pipeline import prepare
from luthier.data.preparation import Preparation
from luthier.errors import DataError, TemplateError
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of

LINES = [
    '{"human": "a", "assistant": "b"}',
    '{"human": "c", "assistant": 3}',
    '{"human": "d"',
    '["e"]',
    '{"human": "f"}',
]


def prepared(world: World, *paths: str, bad_rows: int, **data: Any) -> list[str]:
    recipe = recipe_of(world, data={"train": [{"path": path} for path in paths], "bad_rows": bad_rows, **data})
    return list(prepare(recipe, recipe.data.train, world.model)[0].origins)


def test_bad_rows_can_be_repaired_and_read_again(world: World, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    with pytest.raises(DataError) as caught:
        prepared(world, str(path), bad_rows=3)
    *faults, advice = caught.value.faults
    assert sorted(fault.place for fault in faults) == [f"{path}:{line}" for line in (2, 3, 4, 5)]
    file = Path(advice.place)
    told = {row["_place"]: row for row in map(json.loads, file.read_text().splitlines())}
    assert told[f"{path}:2"]["assistant"] == 3 and "not text" in told[f"{path}:2"]["_reason"]
    assert told[f"{path}:3"]["_row"] == '{"human": "d"' and "is not JSON" in told[f"{path}:3"]["_reason"]
    assert told[f"{path}:4"]["_row"] == '["e"]' and told[f"{path}:5"]["_remedy"]

    repaired = tmp_path / "repaired.jsonl"
    rows = [{"human": "x", **row, "assistant": "g"} for row in told.values()]
    repaired.write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = prepared(world, str(path), str(repaired), bad_rows=4)
    assert both == [f"{path}:1", *(f"{repaired}:{line}" for line in range(1, 5))]


def test_cells_and_values_are_kept_too(world: World, tmp_path: Path) -> None:
    table, listed = tmp_path / "d.csv", tmp_path / "d.json"
    table.write_text("human,assistant\na,b\nc\n")
    listed.write_text('[{"human": "a", "assistant": "b"}, 5, {"human": "\\ud800", "assistant": "c"}]')
    recipe = recipe_of(world, data={"train": [{"path": str(table)}, {"path": str(listed)}], "bad_rows": 3})
    summary = prepare(recipe, recipe.data.train, world.model)[0].summary
    assert len(summary["bad_rows"]) == 3 and summary["rows"] == 5
    rows = [json.loads(line) for line in Path(summary["quarantine"]).read_text().splitlines()]
    assert [row["_place"] for row in rows] == [f"{table}:3", f"{listed}:#2", f"{listed}:#3"]
    assert rows[0]["_row"] == ["c"] and rows[1]["_row"] == "5" and rows[2]["human"] == "\ud800"


def test_a_quote_that_is_never_closed_costs_the_rows_up_to_the_next_one(world: World, tmp_path: Path) -> None:
    table = tmp_path / "d.csv"
    table.write_text('human,assistant\na,b\n"c,d\ne,f\ng,"h"\ni,"j" k\nl,m\nn,"o\np,q\n')
    recipe = recipe_of(world, data={"train": [{"path": str(table)}], "bad_rows": 3})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert list(store.origins) == [f"{table}:2", f"{table}:7"]
    rows = [json.loads(line) for line in Path(store.summary["quarantine"]).read_text().splitlines()]
    assert [(row["_place"], row["_row"]) for row in rows] == [
        (f"{table}:3", '"c,d\ne,f\ng,"h"\n'),
        (f"{table}:6", 'i,"j" k\n'),
        (f"{table}:8", 'n,"o\np,q\n'),
    ]
    assert [row["_reason"] for row in rows] == [
        "is not CSV: ',' expected after '\"' (the row goes on to line 5)",
        "is not CSV: ',' expected after '\"'",
        "is not CSV: unexpected end of data (the row goes on to line 9)",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", ["d.jsonl", "d.csv", "d.txt"])
def test_a_giant_line_is_one_bad_row(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1000)
    path = tmp_path / name
    giant = "word " * 1000
    texts = {
        "d.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in ("a", giant, "b")),
        "d.csv": f"text,more\na,1\n{giant},2\nb,3\n",
        "d.txt": f"a\n{giant}\nb\n",
    }
    path.write_bytes(texts[name].encode(encoding))
    first = 2 if name == "d.csv" else 1
    tree = {"method": {"kind": "pretrain"}, "data": {"train": [{"path": str(path)}], "bad_rows": 1}}
    recipe = recipe_of(world, **tree)
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert list(store.origins) == [f"{path}:{first}", f"{path}:{first + 2}"]
    (row,) = map(json.loads, Path(store.summary["quarantine"]).read_text().splitlines())
    assert row["_place"] == f"{path}:{first + 1}" and "1,000 characters" in row["_reason"]
    assert row["_remedy"] == "break it into rows of their own"
    assert "word word" in row["_row"] and len(row["_row"]) < 2000


TALKS = [
    [("user", "a"), ("assistant", "b")],
    [("user", "a"), ("user", "b"), ("tool", "c")],
    [("user", "c"), ("assistant", "d")],
    [("assistant", "first")],
]
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
CALLED = {"messages": TALK, "tools": [{"name": "x"}]}
IDS = {"input_ids": [5, 99_999], "labels": [5, 99_999]}


def talks(path: Path) -> Path:
    rows = [{"messages": [{"role": role, "content": text} for role, text in turns]} for turns in TALKS]
    return write_jsonl(path, [*rows, CALLED])


@pytest.mark.parametrize("workers", [1, 2])
def test_conversations_that_the_template_refuses_are_bad_rows(world: World, tmp_path: Path, workers: int) -> None:
    path = talks(tmp_path / "d.jsonl")
    data = {"train": [{"path": str(path)}], "template": "mistral", "workers": workers}
    recipe = recipe_of(world, data=data)
    with pytest.raises(DataError) as caught:
        prepare(recipe, recipe.data.train, world.model)
    *faults, _ = caught.value.faults
    assert [fault.place for fault in faults] == [f"{path}:{line}" for line in (2, 4, 5)]
    assert all(fault.remedy for fault in faults)

    recipe = recipe_of(world, data={**data, "bad_rows": 3})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert list(store.origins) == [f"{path}:{line}" for line in (1, 3)]
    assert store.summary["rows"] == 5 and len(store.summary["bad_rows"]) == 3
    file = Path(store.summary["quarantine"])
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert [len(row["messages"]) for row in told] == [3, 1, 2] and "tool" in told[2]["_reason"]
    repaired = [{**row, "messages": TALK, "tools": None} for row in told]
    both = prepared(world, str(write_jsonl(tmp_path / "r.jsonl", repaired)), bad_rows=0, template="mistral")
    assert both == [f"{tmp_path}/r.jsonl:{line}" for line in (1, 2, 3)]


@pytest.mark.parametrize("workers", [1, 2])
def test_tools_that_the_template_leaves_out_and_strange_ids_are_bad_rows(
    world: World, tmp_path: Path, workers: int
) -> None:
    talk, ready = (
        talks(tmp_path / "d.jsonl"),
        write_jsonl(tmp_path / "i.jsonl", [IDS, {"input_ids": [5, 6], "labels": [5, 6]}]),
    )
    sources = [{"path": str(talk)}, {"path": str(ready)}]
    recipe = recipe_of(world, data={"train": sources, "bad_rows": 2, "workers": workers})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    first, second = store.summary["bad_rows"]
    assert first.startswith(f"{talk}:5: ") and "leaves out the tools" in first
    assert second.startswith(f"{ready}:1: ") and "99999" in second
    assert store.summary["documents_by_source"] == [3, 1] and store.summary["rows"] == 7


def test_a_template_that_is_none_is_no_row_s_fault(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for %}")
    with pytest.raises(TemplateError, match="is not Jinja") as caught:
        prepared(world, str(talks(tmp_path / "d.jsonl")), bad_rows=100, template=str(broken))
    assert len(caught.value.faults) == 1


def test_a_sample_counts_such_rows_too(world: World, tmp_path: Path) -> None:
    path = talks(tmp_path / "d.jsonl")
    for bad_rows, allowed in ((2, False), (3, True)):
        recipe = recipe_of(world, data={"train": [{"path": str(path)}], "template": "mistral", "bad_rows": bad_rows})
        work = Preparation(recipe, Encoder.open(world.model))
        found = work.documents(examples(recipe, recipe.data.train, work.set_aside))
        if allowed:
            assert len(list(found)) == 2 and work.summary()["rows"] == 5
            continue
        with pytest.raises(DataError) as caught:
            list(found)
        assert [fault.place for fault in caught.value.faults] == [f"{path}:{line}" for line in (2, 4, 5)]


HALF = {"type": "function", "function": {"name": "f", "arguments": {"x": ["\ud800"]}}}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"tools": [{"name": "f", "description": {"deep": ["\ud800"]}}]}, "half a character"),
        ({"turn": {"tool_calls": [HALF]}}, "half a character"),
        ({"turn": {"content": "a\0b"}}, "NUL"),
        ({"tools": [{"na\0me": "f"}]}, "NUL"),
    ],
    ids=["tools", "calls", "content", "names"],
)
def test_texts_that_cannot_be_written_are_found_wherever_they_are(
    world: World, tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    answer = {"role": "assistant", "content": "b", **row.get("turn", {})}
    bad = {"messages": [{"role": "user", "content": "a"}, answer], "tools": row.get("tools")}
    good = [{"messages": TALK}]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*good, bad, *good]))
    recipe = recipe_of(world, data={"train": [{"path": str(path)}], "bad_rows": 1, "template": "qwen3"})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert len(store) == 2 and reason in store.summary["bad_rows"][0] and f"{path}:2" in store.summary["bad_rows"][0]
    assert json.loads(Path(store.summary["quarantine"]).read_text())["messages"] == bad["messages"]
