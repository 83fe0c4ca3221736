"""``luthier generate``: one answer as it comes, several together, by the run's own settings and those given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from luthier.cli.app import app
from luthier.data.example import Message
from luthier.errors import LuthierError
from luthier.recipe.evaluate import Generation
from luthier.terminal import visible_lines
from luthier.use.conversation import Reply, Speaker
from luthier.use.result import open_result
from tests.conftest import World, write_jsonl


def said(model: Path, *words: str | Path) -> str:
    """What the command prints."""
    command = ["generate", str(model), "--template", "chatml", *map(str, words)]
    return CliRunner().invoke(app, command, catch_exceptions=False).stdout


def expected(model: Path, text: str, system: str = "", *, adapter: bool = True, **settings: Any) -> str:
    speaker = Speaker(open_result(model), "chatml")
    before = (Message("system", system),) if system else ()
    prompt = speaker.prompt((*before, Message("user", text)))
    *_, last = speaker.reply(prompt, Generation(**settings), adapter=adapter)
    assert isinstance(last, Reply)
    return last.text.strip()


def shown(model: Path, text: str, **more: Any) -> str:
    return visible_lines(expected(model, text, **more))


def test_one_answer_is_the_reply_and_several_are_each_their_own(world: World, tmp_path: Path) -> None:
    who, where = (expected(world.model, text, "Be brief.", max_new_tokens=6) for text in ("Who?", "Where is it?"))
    words = ("--max-new-tokens", "6", "--system", "Be brief.")
    assert said(world.model, "-p", "Who?", *words).strip() == visible_lines(who)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Who?\n\nWhere is it?\n")
    rows = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "Who?"}, {"prompt": "Where is it?"}])
    for given in (("-p", "Who?", "-p", "Where is it?"), ("--file", prompts), ("-f", rows)):
        told = json.loads(said(world.model, *given, *words, "--json"))
        assert told == [{"prompt": "Who?", "answer": who}, {"prompt": "Where is it?", "answer": where}]
    assert said(world.model, "-f", prompts, *words) == visible_lines(f"{who}\n{where}\n")


def test_options_are_the_settings_and_a_run_s_recipe_is_where_none_is_given(adapted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model").symlink_to(adapted)
    tree = {
        "model": {"path": str(adapted)},
        "data": {"train": [{"path": "rows.jsonl"}]},
        "evaluate": {"generation": {"max_new_tokens": 3, "repetition_penalty": 4.0}},
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump(tree))
    own = shown(adapted, "Who?", max_new_tokens=3, repetition_penalty=4.0)
    assert said(run, "-p", "Who?").strip() == own
    longer = shown(adapted, "Who?", max_new_tokens=9, repetition_penalty=4.0)
    assert said(run, "-p", "Who?", "--max-new-tokens", "9").strip() == longer != own
    penalised = said(run, "-p", "Who?", "--max-new-tokens", "9", "--repetition-penalty", "1").strip()
    assert penalised == shown(adapted, "Who?", max_new_tokens=9) != longer
    beams = said(run, "-p", "Who?", "--beams", "3", "--repetition-penalty", "1").strip()
    assert beams == shown(adapted, "Who?", max_new_tokens=3, beams=3)
    bare = said(run, "-p", "Who?", "--no-adapter").strip()
    assert bare == shown(adapted, "Who?", adapter=False, max_new_tokens=3, repetition_penalty=4.0) != own


def test_sampling_follows_the_seed(world: World) -> None:
    words = ("-p", "Who?", "--max-new-tokens", "12", "--temperature", "2")
    first, again, other = (said(world.model, *words, "--seed", seed) for seed in ("1", "1", "2"))
    assert first == again != other
    likeliest = said(world.model, "-p", "Who?", "--max-new-tokens", "12")
    assert said(world.model, *words, "--top-k", "1") == likeliest == said(world.model, *words, "--top-p", "0.00001")


def test_plain_text_is_gone_on_with(world: World) -> None:
    text = said(world.model, "-p", "Mira lives", "--raw", "--max-new-tokens", "4")
    assert text.startswith("Mira lives") and len(text.strip()) > len("Mira lives")
    [row] = json.loads(said(world.model, "-p", "Mira lives", "--raw", "--max-new-tokens", "4", "--json"))
    assert visible_lines(row["answer"]) == text.removesuffix("\n")


def test_what_cannot_be_asked_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
    for words, reason in (
        ((), "nothing is asked"),
        (("-f", tmp_path / "none.txt"), "cannot be read"),
        (("-f", tmp_path / "bad.jsonl"), r"bad\.jsonl:2: has no prompt"),
        (("-p", "a", "--raw", "--system", "b"), "no system prompt"),
    ):
        with pytest.raises(LuthierError, match=reason):
            said(world.model, *words)
