"""What is printed marks the learned part, and no row can steer the terminal or forge a mark."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from luthier.show.first import FirstBatch
from luthier.show.reason import Reason
from luthier.show.terminal import Printer
from luthier.show.trace import Trace
from tests.conftest import World
from tests.show.made import HOSTILE, shown_first, traced


def printed(found: FirstBatch | Trace, language: str = "en", *, colours: bool = False, no_color: bool = False) -> str:
    out = io.StringIO()
    system = "standard" if colours else None
    console = Console(
        file=out, width=10_000, force_terminal=colours, color_system=system, no_color=no_color, highlight=False
    )  # type: ignore[arg-type]
    printer = Printer(console, language)
    printer.row(found) if isinstance(found, Trace) else printer.batch(found)
    return out.getvalue()


def test_a_row_has_all_its_stages(world: World, tmp_path: Path) -> None:
    found = traced(world, tmp_path / "d.jsonl", {"human": "Where\nis it?", "assistant": "Here."})
    lines = printed(found).splitlines()
    assert lines[:3] == [f"Row {tmp_path}/d.jsonl:1", "user: Where↵is it?", "assistant: Here."]
    count = len(found.whole.ids)
    assert lines[4] == f"{count} tokens, {sum(found.whole.learned)} learned"
    text = "⟨<|im_start|>⟩user↵Where↵is it?⟨<|im_end|>⟩↵⟨<|im_start|>⟩assistant↵⟦Here.⟨<|im_end|>⟩⟧↵"
    assert lines[5] == text
    assert f"fate: kept whole: {count} tokens go on" in lines
    assert lines[-1].startswith("first epoch: the run cannot be prepared")


def test_the_marks_without_colours_are_the_mask(world: World, tmp_path: Path) -> None:
    rows = [{"human": f"Where {n}?", "assistant": f"Here {n}."} for n in range(5)]
    first = shown_first(world, tmp_path / "d.jsonl", rows)
    lines = [line for line in printed(first).splitlines() if line.startswith("⟨")]
    assert len(lines) == len(first.documents) == 5
    for line, document in zip(lines, first.documents, strict=True):
        marked = "".join(re.findall("⟦(.*?)⟧", line)).replace("⟨", "").replace("⟩", "")
        learned = zip(document.learned, document.pieces, strict=True)
        assert marked == "".join(piece for flag, piece in learned if flag)


def test_the_colours_are_the_mask(world: World, tmp_path: Path) -> None:
    out = printed(shown_first(world, tmp_path / "d.jsonl", [{"human": "Where?", "assistant": "Here."}]), colours=True)
    shown = next(line for line in out.splitlines() if "im_start" in line)
    assert "".join(re.findall("\x1b\\[(?:4;)?30;42m(.*?)\x1b\\[0m", shown)) == "Here.<|im_end|>"
    assert "⟦" not in out


def test_no_color_brings_the_brackets_back(world: World, tmp_path: Path) -> None:
    first = shown_first(world, tmp_path / "d.jsonl", [{"human": "Where?", "assistant": "Here."}])
    assert "⟦Here.⟨<|im_end|>⟩⟧" in printed(first, colours=True, no_color=True)


def hostile(world: World, tmp_path: Path) -> list[FirstBatch | Trace]:
    path, row = tmp_path / f"{HOSTILE[:8]}.jsonl", {"human": HOSTILE, "assistant": HOSTILE}
    return [shown_first(world, path, [row]), traced(world, path, row)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_row_cannot_steer_the_terminal_or_forge_a_mark(world: World, tmp_path: Path, language: str) -> None:
    for found in hostile(world, tmp_path):
        out = printed(found, language)
        assert not [one for one in out if not one.isprintable() and one != "\n"]
        assert "[bold red]x[/] :smile:" in out and "\\x1b[31m" in out and "\\u202e" in out
        text = next(line for line in out.splitlines() if line.startswith("⟨"))
        assert text.count("⟦") == text.count("⟧") == 1 and "\\u27e6y\\u27e7" in text


def test_the_name_of_a_role_cannot_either(world: World, tmp_path: Path) -> None:
    first = shown_first(world, tmp_path / "d.jsonl", [{"human": "Where?", "assistant": "Here."}])
    odd = [replace(one, reasons=[Reason("role", 1, HOSTILE)] * len(one.ids)) for one in first.documents]
    out = printed(replace(first, documents=odd))
    assert "\\x1b[31m" in out and not [one for one in out if not one.isprintable() and one != "\n"]


def test_colours_are_the_only_codes_that_are_written(world: World, tmp_path: Path) -> None:
    for found in hostile(world, tmp_path):
        out = printed(found, colours=True)
        codes = set(re.findall("\x1b\\[[0-9;]*[a-zA-Z]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out))
        assert codes <= {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[2;4m", "\x1b[30;42m", "\x1b[4;30;42m"}


def test_both_languages(world: World, tmp_path: Path) -> None:
    first = shown_first(world, tmp_path / "d.jsonl", [{"human": "Where?", "assistant": "Here."}])
    english, chinese = printed(first), printed(first, "zh")
    assert "micro-batch 1 of 1" in english and "learned" in english and "padding 0" in english
    assert "微批次" in chinese and "参训" in chinese and "填充 0" in chinese and "learned" not in chinese
