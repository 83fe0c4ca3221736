"""A traced row on a terminal, which the row cannot steer."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from luthier.data.page import TRAINED, describe, visible
from luthier.data.trace import Trace, trace
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of

STEERING = "\x1b]0;title\x07\x1b[31m\x9b2J\r\b\u202e\x00[bold red]markup[/] :smile:"


def traced(world: World, path: Path, human: str, assistant: str) -> Trace:
    write_jsonl(path, [{"human": human, "assistant": assistant}])
    return trace(recipe_of(world, data={"train": [{"path": str(path)}], "max_length": 999}), world.model, 1)


def printed(found: Trace, *, colours: bool = False) -> str:
    out = io.StringIO()
    system = "standard" if colours else None
    Console(file=out, width=10_000, force_terminal=colours, color_system=system, highlight=False).print(describe(found))
    return out.getvalue()


def test_every_stage_has_its_line(world: World, tmp_path: Path) -> None:
    found = traced(world, tmp_path / "d.jsonl", "Where\nis it?", "Here.")
    lines = printed(found).splitlines()
    count = len(found.tokens)
    assert lines[:4] == [
        f"row       {tmp_path}/d.jsonl:1",
        "user      Where↵is it?",
        "assistant Here.",
        "text      <|im_start|>user↵Where↵is it?<|im_end|>↵<|im_start|>assistant↵Here.<|im_end|>↵",
    ]
    assert lines[4].startswith(f"tokens    {count}, {found.tokens.targets} learned: 1:<|im_start|> ")
    assert lines[5] == f"fate      kept: {count} tokens go on"


def test_learned_text_is_marked_and_nothing_else(world: World, tmp_path: Path) -> None:
    found = traced(world, tmp_path / "d.jsonl", "Where?", "Here.")
    text = next(part for part in describe(found).renderables if str(part).startswith("text"))  # type: ignore[attr-defined]
    marked = [text.plain[span.start : span.end] for span in text.spans if span.style == TRAINED]
    assert marked == ["Here.<|im_end|>"]


def test_a_row_cannot_steer_the_terminal(world: World, tmp_path: Path) -> None:
    out = printed(traced(world, tmp_path / f"{STEERING[:8]}.jsonl", STEERING, STEERING), colours=False)
    assert not [character for character in out if not character.isprintable() and character != "\n"]
    assert out.count("[bold red]markup[/] :smile:") == 4
    assert "\\x1b[31m" in out and "\\x9b2J" in out and "\\u202e" in out


def test_colours_are_the_only_codes_that_are_written(world: World, tmp_path: Path) -> None:
    out = printed(traced(world, tmp_path / "d.jsonl", STEERING, "Here."), colours=True)
    assert "\x1b[" in out and "\x1b[31m" not in out and "\x1b]" not in out and "\x07" not in out


def test_what_is_dropped_goes_nowhere(world: World, tmp_path: Path) -> None:
    assert "fate      dropped: nothing tokens go on" not in printed(
        traced(world, tmp_path / "d.jsonl", "x" * 2000, "y")
    )
    assert "fate      dropped: nothing goes on" in printed(traced(world, tmp_path / "d.jsonl", "x" * 2000, "y"))


@pytest.mark.parametrize(("text", "shown"), [("a b", "a b"), ("\t", "\\t"), ("é中😀", "é中😀"), ("\ud800", "\\ud800")])
def test_characters_are_shown_if_they_print(text: str, shown: str) -> None:
    assert visible(text) == shown
