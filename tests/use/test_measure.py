"""``luthier evaluate``: what a run's own evaluation found, found again from its result alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from luthier.cli.app import app
from luthier.dialects import read
from luthier.errors import LuthierError
from luthier.record.events import Answered, Evaluated, read_events
from luthier.record.folder import RunFolder
from luthier.train.display import Display
from luthier.train.run import run
from luthier.use.measure import Evaluation, evaluate
from luthier.use.result import open_to_answer
from tests.conftest import HOMES, NAMES, World, write_jsonl

LORA = {"kind": "lora", "rank": 4, "alpha": 8}
QUIET = Display(Console(quiet=True), live=False)


def trained(world: World, folder: Path, **sections: Any) -> RunFolder:
    tree = world.recipe(**{"output": {"dir": str(folder / "run")}, **sections})
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return run(read(path), QUIET)


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUTHIER_CACHE", str(folder / "cache"))
        yield


@pytest.fixture(scope="module")
def answering(world: World, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with an adapter that measured itself before and after, by two metrics."""
    folder = tmp_path_factory.mktemp("answering")
    rows = [{"path": str(world.held_out)}]
    with own_cache(folder):
        return trained(
            world,
            folder,
            adapter=LORA,
            data={"evaluate": rows, "test": rows},
            optimizer={"lr": 2e-2},
            batch={"epochs": 6},
            evaluate={
                "at_start": True,
                "generate": True,
                "metrics": ["exact_match", "chrf"],
                "generation": {"max_new_tokens": 9, "repetition_penalty": 1.3},
            },
        )


def events(folder: RunFolder, kind: Any) -> list[Any]:
    return [one for one in read_events(folder.events) if isinstance(one, kind)]


def found(folder: RunFolder | Path, *words: str, data: tuple[Path, ...] = (), **more: Any) -> Any:
    root = folder.root if isinstance(folder, RunFolder) else folder
    return evaluate(root, list(map(str, data)), words, QUIET, **more)


def answers(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["origin"], row["answer"]) for row in rows]


@pytest.mark.parametrize("named", [False, True], ids=["own rows", "named rows"])
def test_the_figures_are_those_of_the_run_before_and_after(named: bool, answering: RunFolder, world: World) -> None:
    after, before = found(answering, data=(world.held_out,) if named else (), before=True)
    losses, said = events(answering, Evaluated), events(answering, Answered)
    assert [one.when for one in said] == ["before", "after"]
    for evaluation, loss, told, name in ((before, losses[0], said[0], "before"), (after, losses[-1], said[1], "after")):
        assert evaluation.figures["loss"] == pytest.approx(loss.loss, rel=1e-5)
        assert evaluation.figures["perplexity"] == pytest.approx(math.exp(loss.loss), rel=1e-5)
        assert loss.metrics["perplexity"] == pytest.approx(math.exp(loss.loss))
        assert evaluation.figures["tokens"] == loss.targets
        assert {metric: evaluation.figures[metric] for metric in told.metrics} == told.metrics
        kept = [json.loads(line) for line in (answering.answers / f"{name}.jsonl").read_text().splitlines()]
        assert answers(evaluation.answers) == answers(kept)
    assert answers(before.answers) != answers(after.answers)


def test_words_win_over_the_run_s_settings(answering: RunFolder, world: World) -> None:
    words = ("evaluate.metrics=[rouge-l]", "evaluate.generation.max_new_tokens=1", "evaluate.rows=2")
    short, _ = found(answering, *words, data=(world.held_out,))
    assert set(short.figures) == {"loss", "perplexity", "tokens", "rouge-l"} and len(short.answers) == 2
    usual, _ = found(answering, data=(world.held_out,), generate=False)
    assert set(usual.figures) == {"loss", "perplexity", "tokens"} and usual.answers == []
    assert short.figures["tokens"] < usual.figures["tokens"]


def test_rows_of_another_shape_are_named_by_words(answering: RunFolder, tmp_path: Path) -> None:
    other = [
        {"q": f"Where does {name} live?", "a": f"{name} lives in the {home}."}
        for name, home in zip(NAMES, HOMES, strict=True)
    ]
    path = write_jsonl(tmp_path / "other.jsonl", other)
    columns = "columns={instruction: q, output: a}"
    words = (f"data.{part}.0.{word}" for part in ("evaluate", "test") for word in ("format=alpaca", columns))
    asked, _ = found(answering, *words, data=(path,))
    assert [row["reference"] for row in asked.answers] == [row["a"] for row in other]


def test_the_command_keeps_what_it_found_beside_the_run(answering: RunFolder, world: World) -> None:
    words = ["evaluate", str(answering.root), "evaluate.metrics=[exact_match]", "--before", "--quiet"]
    told = CliRunner().invoke(app, [*words, "--data", str(world.held_out), "--json"], catch_exceptions=False)
    tree = json.loads(told.stdout)
    kept = [json.loads(line) for line in answering.evaluations.read_text().splitlines()[-2:]]
    assert [one["when"] for one in kept] == ["before", "after"]
    assert kept[1]["figures"] == tree["figures"] and kept[0]["figures"] == tree["before"]["figures"]
    assert kept[1]["answers"] == "answers/held-out.jsonl" and kept[0]["answers"] == "answers/held-out-before.jsonl"
    rows = [json.loads(line) for line in (answering.root / kept[1]["answers"]).read_text().splitlines()]
    assert rows == tree["answers"]
    shown = CliRunner().invoke(app, [*words, "--data", str(world.held_out)], catch_exceptions=False).stdout
    assert f"exact_match: {tree['figures']['exact_match']:.4f} (before" in shown


def test_a_model_without_a_run_is_measured_too(answering: RunFolder, world: World, tmp_path: Path) -> None:
    """The base's figures are the run's own before its first step; the model keeps no files."""
    there = set(world.model.iterdir())
    bare, _ = found(world.model, "data.template=chatml", "data.max_length=96", data=(world.held_out,))
    assert bare.figures["loss"] == pytest.approx(events(answering, Evaluated)[0].loss, rel=1e-5)
    assert "exact_match" in bare.figures
    plain, _ = found(world.model, data=(world.stories,))
    assert set(plain.figures) == {"loss", "perplexity", "tokens"}
    assert plain.figures["perplexity"] == pytest.approx(math.exp(plain.figures["loss"]))
    assert set(world.model.iterdir()) == there
    with pytest.raises(LuthierError, match="no rows of its own"):
        found(world.model)


@pytest.mark.parametrize(
    ("method", "adapter"),
    [
        ("dpo", LORA),
        ("dpo", {}),
        ("dpo", {"kind": "prefix", "virtual_tokens": 4}),
        ("ipo", {"kind": "prompt", "virtual_tokens": 4}),
        ("reward", LORA),
        ("reward", {**LORA, "quantise": 4}),
        ("reward", {}),
        ("orpo", {}),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else ("q" if "quantise" in value else "") + value.get("kind", "full")
    ),
)
def test_judged_rows_give_the_run_s_own_margins_and_accuracy(
    method: str, adapter: dict[str, Any], world: World, tmp_path: Path
) -> None:
    pairs = [
        {
            "prompt": f"Where does {name} live? ({n})",
            "chosen": f"In the {home}.",
            "rejected": "Elsewhere, or in no inn.",
        }
        for n in range(4)
        for name, home in zip(NAMES, HOMES, strict=True)
    ]
    rows = [{"path": str(write_jsonl(tmp_path / "pairs.jsonl", pairs))}]
    folder = trained(
        world,
        tmp_path,
        data={"train": rows, "holdout": 0.25},
        adapter={name: value for name, value in adapter.items() if name != "quantise"},
        quantise={"bits": adapter.get("quantise", 16)},
        method={"kind": method},
        batch={"micro": 1, "steps": 4},
        optimizer={"lr": 1e-2},
    )
    last = events(folder, Evaluated)[-1]
    again: Evaluation = found(folder)[0]
    assert last.metrics and any("accurac" in name for name in last.metrics)
    assert again.figures == pytest.approx({"loss": last.loss, **last.metrics, "rows": last.targets}, rel=1e-3, abs=1e-4)
    named: Evaluation = found(folder, data=(tmp_path / "pairs.jsonl",))[0]
    assert set(named.figures) == set(again.figures) and named.figures["rows"] == len(pairs)


@pytest.mark.parametrize("adapter", [{}, LORA], ids=["full", "lora"])
def test_a_checkpoint_in_bf16_is_measured_and_answers_in_the_type_that_its_run_held_it_in(
    adapter: dict[str, Any], world: World, tmp_path: Path
) -> None:
    AutoModelForCausalLM.from_pretrained(world.model, dtype=torch.bfloat16).save_pretrained(tmp_path / "bf16")
    for file in world.model.glob("*token*"):
        (tmp_path / "bf16" / file.name).write_bytes(file.read_bytes())
    folder = trained(
        world,
        tmp_path,
        model={"path": str(tmp_path / "bf16"), "dtype": "fp32"},
        adapter=adapter,
        data={"evaluate": [{"path": str(world.held_out)}]},
        batch={"micro": 1, "steps": 2},
        evaluate={"at_start": True},
        output={"dir": str(tmp_path / "run"), "dtype": "fp32"},
    )
    first, last = (one.loss for one in (events(folder, Evaluated)[0], events(folder, Evaluated)[-1]))
    after, before = found(folder, generate=False, before=True)
    assert after.figures["loss"] == pytest.approx(last, rel=1e-6)
    assert before.figures["loss"] == pytest.approx(first, rel=1e-6)
    assert {one.dtype for one in open_to_answer(folder.root).model.parameters()} == {torch.float32}


def test_what_cannot_be_measured_is_told(answering: RunFolder, world: World, tmp_path: Path) -> None:
    with pytest.raises(LuthierError, match="neither a finished run nor a model"):
        found(tmp_path, data=(world.held_out,))
    with pytest.raises(LuthierError, match="did you mean"):
        found(answering, "evaluate.metrics=[rouge]", data=(world.held_out,))
    with pytest.raises(LuthierError, match=r"section\.field=value"):
        found(answering, "evaluate", data=(world.held_out,))
