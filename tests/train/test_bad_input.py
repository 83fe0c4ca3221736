"""Bad input: place, reason and remedy, exit code 2, no traceback, and nothing already done is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import World, write_csv, write_jsonl

Call = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]
Case = Callable[[World, Path], dict[str, Any]]


def missing_file(world: World, folder: Path) -> dict[str, Any]:
    return world.recipe(data={"train": [{"path": str(folder / "gone.csv")}]})


def malformed_row(world: World, folder: Path) -> dict[str, Any]:
    path = folder / "rows.jsonl"
    path.write_text('{"human": "a", "assistant": "b"}\n{"human": "a", \n')
    return world.recipe(data={"train": [{"path": str(path)}]})


def wrong_column(world: World, folder: Path) -> dict[str, Any]:
    rows = [{"human": "a", "assistant": "b"}, {"human": "a", "assistant": 3}, {"human": "a"}]
    return world.recipe(data={"train": [{"path": str(write_jsonl(folder / "rows.jsonl", rows))}]})


def unknown_key(world: World, folder: Path) -> dict[str, Any]:
    return world.recipe(optimizer={"lr_rate": 1})


def unknown_model_type(world: World, folder: Path) -> dict[str, Any]:
    (folder / "odd").mkdir()
    (folder / "odd" / "config.json").write_text(
        json.dumps(
            {
                "model_type": "oddity",
                "hidden_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
                "vocab_size": 9,
            }
        )
    )
    save_file({"model.embed_tokens.weight": torch.zeros(9, 8)}, folder / "odd" / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "odd" / name).write_text((world.model / name).read_text())
    return world.recipe(model={"path": str(folder / "odd")})


def missing_model(world: World, folder: Path) -> dict[str, Any]:
    return world.recipe(model={"path": str(folder / "no" / "model")})


def unstable_template(world: World, folder: Path) -> dict[str, Any]:
    path = folder / "odd.jinja"
    path.write_text("{{ messages | length }}:{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}")
    return world.recipe(data={"template": str(path)})


def nothing_trained(world: World, folder: Path) -> dict[str, Any]:
    return world.recipe(data={"train_on": ["tool"]})


def everything_too_long(world: World, folder: Path) -> dict[str, Any]:
    return world.recipe(data={"max_length": 4})


def broken_csv(world: World, folder: Path) -> dict[str, Any]:
    path = write_csv(folder / "rows.csv", [("c", "a", "b")])
    path.write_text(path.read_text() + "c,a\n")
    return world.recipe(data={"train": [{"path": str(path)}]})


CASES: list[tuple[Case, list[str]]] = [
    (missing_file, ["gone.csv", "no such file", "paths start at"]),
    (malformed_row, ["rows.jsonl:2", "is not JSON", "one object a line"]),
    (
        wrong_column,
        ["rows.jsonl:2", "holds int, not text", "rows.jsonl:3", "has no column 'assistant'", "write it as a string"],
    ),
    (unknown_key, ["recipe.yaml:", "optimizer.lr_rate is not a setting", "did you mean optimizer.lr?"]),
    (unknown_model_type, ["odd", "oddity", "check model.path"]),
    (missing_model, ["no/model", "no such directory", "hub names are owner/name"]),
    (unstable_template, ["questions.csv:2", "changes the text before it", "use a template"]),
    (nothing_trained, ["questions.csv", "no trained token is left", "data.train_on"]),
    (everything_too_long, ["questions.csv", "no trained token is left", "raise data.max_length"]),
    (broken_csv, ["rows.csv:3", "has 2 cells where the header has 3", "quotes"]),
]


@pytest.mark.parametrize(("case", "said"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_place_reason_and_remedy(
    case: Case, said: list[str], world: World, tmp_path: Path, write_recipe: Write, luthier: Call
) -> None:
    tree = case(world, tmp_path)
    tree["output"] = {"dir": str(tmp_path / "run")}
    ended = luthier("train", write_recipe(tree))
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    for part in said:
        assert part in ended.stderr
    assert not (tmp_path / "run" / "events.jsonl").exists() or case is unknown_model_type


def test_a_bad_row_found_on_resuming_loses_no_checkpoint(
    world: World, tmp_path: Path, write_recipe: Write, luthier: Call
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_bytes(world.questions.read_bytes())
    tree = world.recipe(
        data={"train": [{"path": str(rows)}]}, batch={"steps": 6}, output={"dir": str(tmp_path / "run")}
    )
    recipe = write_recipe(tree)
    assert luthier("train", recipe).returncode == 0
    before = sorted(str(path) for path in (tmp_path / "run").rglob("*"))
    rows.write_text(rows.read_text() + "home,a question\n")
    ended = luthier("train", recipe, "checkpoint.resume=auto", "track.every=2")
    assert sorted(str(path) for path in (tmp_path / "run").rglob("*")) == before
    assert ended.returncode == 0
