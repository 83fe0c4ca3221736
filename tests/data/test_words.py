"""By the word or whole: the ids are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from luthier.data.words import _KNOWN, LONGEST, Words, splits_at_spaces
from tests.data.made import make_tokenizer

PIECES = [" ", "  ", "\n", "\t", "\u00a0", "\u3000", "mill", "The", "'s", "e\u0301", "\u0308", "中文", "12", "!", "..."]
PIECES += ["<|im_end|>", "<|im_start|>", "🙂", "\x1c", "\x85", "\u2028", "\r\n", "\u200b", "user", "x" * (LONGEST + 1)]


def made(folder: Path, pattern: str | None, *, digits: bool = False, nfc: bool = False) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(make_tokenizer(folder) / "tokenizer.json"))
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    if pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, last]) if steps else last
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


@pytest.fixture(scope="module", params=[None, *sorted(_KNOWN)])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return made(tmp_path_factory.mktemp("t"), request.param, digits=True, nfc=True)


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=5), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_ids_of_pieces_are_those_of_the_whole(tokenizer: Tokenizer, texts: list[str], literal: bool) -> None:
    assert splits_at_spaces(tokenizer)
    tokenizer.encode_special_tokens = literal
    asked: list[str] = []

    def whole(some: Any) -> list[list[int]]:
        asked.extend(some)
        return [one.ids for one in tokenizer.encode_batch_fast(list(some), add_special_tokens=False)]

    expected = whole(texts)
    words = Words(whole)
    assert words.encode(texts) == expected
    asked.clear()
    assert words.encode(texts) == expected
    assert all(len(piece) > LONGEST for piece in asked)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.Metaspace()),
        lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        lambda t: setattr(t, "pre_tokenizer", made_split(r"\w+ \w+|.")),
        lambda t: setattr(t, "normalizer", normalizers.Strip()),
        lambda t: setattr(t, "model", models.BPE(dropout=0.1)),
        lambda t: setattr(t, "model", models.WordLevel({"a": 0}, unk_token="a")),
        lambda t: t.add_tokens([AddedToken("two words")]),
        lambda t: t.add_tokens([AddedToken("<mask>", lstrip=True)]),
        lambda t: t.add_tokens([AddedToken("alone", single_word=True)]),
    ],
)
def test_tokenizers_that_may_split_otherwise_are_left_alone(tmp_path: Path, change: Any) -> None:
    tokenizer = made(tmp_path, None)
    assert splits_at_spaces(tokenizer)
    change(tokenizer)
    assert not splits_at_spaces(tokenizer)


def made_split(pattern: str) -> Any:
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), last])
