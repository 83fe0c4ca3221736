"""Ids read back one by one give the text that they give together."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.data.encoder import Encoder
from luthier.show.text import control_ids, pieces_of
from tests.conftest import World
from tests.data.spaced import make_spaced_tokenizer

TEXT = "Tom lives here, 中文😀 and é.\nThere  too. "


@pytest.fixture
def spaced(tmp_path: Path) -> Encoder:
    return Encoder.open(make_spaced_tokenizer(tmp_path, ("<unk>", "<s>", "</s>"), ["Tom lives here and there."]))


def test_pieces_make_up_the_text(world: World, spaced: Encoder) -> None:
    encoder = Encoder.open(world.model)
    ids = encoder.encode([TEXT])[0]
    pieces = pieces_of(ids, encoder)
    assert "".join(pieces) == TEXT and len(pieces) == len(ids) and "\ufffd" not in "".join(pieces)
    at = pieces.index("中")
    assert pieces[at + 1 : at + 3] == ["", ""] and pieces[at + 3] == "文"
    ids = spaced.encode([TEXT])[0]
    assert "".join(pieces_of(ids, spaced)).removeprefix(" ") == TEXT


def test_half_a_character_is_shown_as_one_that_is_not_there(world: World) -> None:
    encoder = Encoder.open(world.model)
    ids = encoder.encode(["中a"])[0]
    assert "".join(pieces_of(ids[1:], encoder)).strip("\ufffd") == "a"
    assert set("".join(pieces_of(ids[:2], encoder))) == {"\ufffd"}
    assert pieces_of([], encoder) == []


def test_control_tokens_by_id(world: World) -> None:
    encoder = Encoder.open(world.model)
    assert set(encoder.encode(["<|im_start|><|im_end|>"])[0]) <= control_ids(encoder)
    assert not set(encoder.encode(["<|im_end|>"], literal=True)[0]) & control_ids(encoder)
