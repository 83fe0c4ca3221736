"""The page loads nothing, stands up to any text in the rows, and says everything in both languages."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.show.first import FirstBatch
from luthier.show.page import MARK, batch_page, row_page, write_page
from luthier.terminal import visible
from tests.conftest import World
from tests.report.reader import Page
from tests.show.made import HOSTILE, shown_first, traced

ROW = {"human": "Where\nis it?", "assistant": "Here, 中."}


@pytest.fixture
def first(world: World, tmp_path: Path) -> FirstBatch:
    return shown_first(world, tmp_path / "d.jsonl", [ROW, {"human": "And?", "assistant": "No."}])


def test_every_token_is_an_element_with_its_numbers(first: FirstBatch) -> None:
    page = Page(batch_page(first, "recipe.yaml", "en"))
    boxes = page.those("div", "tokens")
    assert len(boxes) == 2
    for box, document in zip(boxes, first.documents, strict=True):
        assert box.text.replace("↵\n", "\n") == "".join(document.pieces)
    titles = [one.attributes.get("title") for one in page.those("b") if one.attributes.get("title")]
    written = [line for title in titles for line in (title or "").split("\n")]
    assert written == [
        f"{at}: {document.ids[at]} @ {document.positions[at]} → {document.labels[at]}"
        for document in first.documents
        for at in range(len(document.ids))
    ]
    learned = [one.text for one in page.those("b", "l") if one.attributes.get("title")]
    flags = [pair for one in first.documents for pair in zip(one.learned, one.pieces, strict=True)]
    assert "".join(learned) == "".join(piece for flag, piece in flags if flag)


def test_the_page_loads_nothing_and_runs_nothing_but_its_own(first: FirstBatch) -> None:
    source = batch_page(first, "recipe.yaml", "en")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|src=|href=", source)
    page = Page(source)
    policy = next(one.attributes["content"] for one in page.those("meta") if one.attributes.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'")
    for name in ("style", "script"):
        (inside,) = re.findall(f"<{name}>(.*?)</{name}>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("kind", ["batch", "row"])
def test_no_row_gets_out_of_its_element(world: World, tmp_path: Path, kind: str) -> None:
    path, row = tmp_path / f"{HOSTILE[:8]}.jsonl", {"human": HOSTILE, "assistant": HOSTILE}
    if kind == "batch":
        source = batch_page(shown_first(world, path, [row]), HOSTILE, "en")
    else:
        source = row_page(traced(world, path, row), HOSTILE, "en")
    assert not [one for one in source if not one.isprintable() and one != "\n"]
    page = Page(source)
    assert len(page.those("script")) == len(page.those("style")) == 1 and not page.those("img")
    assert not [one for one in page.elements for name in one.attributes if name.startswith("on")]
    (box,) = page.those("div", "tokens")
    assert box.text.count(visible(HOSTILE)) == 2


def test_both_languages_and_which_comes_first(world: World, tmp_path: Path, first: FirstBatch) -> None:
    row = traced(world, tmp_path / "d.jsonl", ROW)
    for source in (batch_page(first, "r", "zh"), row_page(row, "r", "zh")):
        page = Page(source)
        assert page.those("html")[0].attributes["lang"] == "zh"
        english, chinese = page.text("en"), page.text("zh")
        assert "What the trainer sees" in english and "turn 2 is the assistant's" in english
        assert "训练器实际看到的内容" in chinese and "第 2 个回合" in chinese and "turn 2" not in chinese
    assert Page(batch_page(first, "r", "en")).those("html")[0].attributes["lang"] == "en"


def test_only_our_own_pages_are_overwritten(tmp_path: Path, first: FirstBatch) -> None:
    page = batch_page(first, "r", "en")
    place = tmp_path / "p.html"
    write_page(place, page)
    write_page(place, page)
    assert place.read_text(encoding="utf-8") == page and page.startswith(MARK)
    for other in ("rows", ""):
        place.write_text(other)
        with pytest.raises(RunError, match="is not a page of luthier show"):
            write_page(place, page)
        assert place.read_text() == other


def test_a_page_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        write_page(tmp_path, MARK)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot be written"):
        write_page(tmp_path / "file" / "p.html", MARK)
