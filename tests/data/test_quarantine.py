"""Bad rows go to a file from which they can be read again once they are repaired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.data.pipeline import prepare
from luthier.errors import DataError
from tests.conftest import World
from tests.data.made import recipe_of

LINES = [
    '{"human": "a", "assistant": "b"}',
    '{"human": "c", "assistant": 3}',
    '{"human": "d"',
    '["e"]',
    '{"human": "f"}',
]


def prepared(world: World, *paths: str, bad_rows: int) -> list[str]:
    recipe = recipe_of(world, data={"train": [{"path": path} for path in paths], "bad_rows": bad_rows})
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
