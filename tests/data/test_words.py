"""By the word or whole: the ids are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from luthier.data.words import _KNOWN, LONGEST, Cuts, Words, cuts_of, packed
from tests.data.made import make_tokenizer

PIECES = [" ", "  ", "\n", "\t", "\u00a0", "\u3000", "mill", "The", "'s", "e\u0301", "\u0308", "中文", "12", "!", "..."]
PIECES += ["<|im_end|>", "<|im_start|>", "🙂", "\x1c", "\x85", "\u2028", "\r\n", "\u200b", "user", "x" * (LONGEST + 1)]
PIECES += ["mill. ", " mill,", "mill ", "é?", ":", "▁", "<s>", "</s>", "1.", "mill's! ", " ?"]


def with_runs(tokenizer: Tokenizer, *characters: str) -> Tokenizer:
    """The tokenizer with tokens for two and four of each of some characters: a line break and a space as bytes."""
    tree = json.loads(tokenizer.to_str())
    vocabulary, merges = tree["model"]["vocab"], tree["model"]["merges"]
    for run in (one * count for one in characters or ("\u010a", "\u0120") for count in (1, 2)):
        vocabulary[run * 2] = max(vocabulary.values(), default=0) + 1
        merges.append([run, run])
    return Tokenizer.from_str(json.dumps(tree))


def made(folder: Path, pattern: str | None, *, digits: bool = False, nfc: bool = False) -> Tokenizer:
    tokenizer = with_runs(Tokenizer.from_file(str(make_tokenizer(folder) / "tokenizer.json")))
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
    agree(tokenizer, Cuts(marks=(*".,;:!?",)), texts, literal)


def agree(tokenizer: Tokenizer, expected: Cuts, texts: list[str], literal: bool) -> None:
    cuts = cuts_of(tokenizer)
    assert cuts == expected
    tokenizer.encode_special_tokens = literal
    asked: list[str] = []

    def whole(some: Any) -> list[list[int]]:
        asked.extend(some)
        return [one.ids for one in tokenizer.encode_batch_fast(list(some), add_special_tokens=False)]

    ids = [packed(one) for one in whole(texts)]
    words = Words(whole, expected)
    assert [words.encode([text])[0] for text in texts] == ids
    assert words.encode(texts) == ids
    asked.clear()
    assert words.encode(texts) == ids
    assert all(len(piece) > LONGEST for piece in asked)


SPACED: dict[str, Any] = {
    "prepended by the normaliser": (
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, "",
    ),
    "not prepended": (normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), " "),
    **{
        f"{scheme}, {split}": (None, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split), " ")
        for scheme in ("always", "first", "never")
        for split in (False, True)
    },
}  # fmt: skip
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def made_spaced(kind: str) -> tuple[Tokenizer, Cuts]:
    """One that learned words, and runs of spaces, as SentencePiece does."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[*SPECIAL, *BYTES], show_progress=False)
    text = "Where is the mill? The mill is here, user and assistant.\nIt's 12 mills."
    tokenizer.train_from_iterator([text] * 4, trainer)
    tree = json.loads(tokenizer.to_str())
    tree["added_tokens"] = [token for token in tree["added_tokens"] if token["content"] not in BYTES]
    tokenizer = with_runs(Tokenizer.from_str(json.dumps(tree)), "▁")
    normalizer, before, lead = SPACED[kind]
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = before
    return tokenizer, Cuts(lead, barred=tuple(SPECIAL), within="▁")


@pytest.fixture(scope="module", params=SPACED)
def spaced(request: pytest.FixtureRequest) -> tuple[Tokenizer, Cuts]:
    return made_spaced(request.param)


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=5), st.booleans())
@example(texts=["mill▁ ?", "▁ ?", "? ▁?"], literal=False)
@settings(max_examples=300, deadline=None)
def test_so_are_those_of_tokenizers_like_sentencepieces(
    spaced: tuple[Tokenizer, Cuts], texts: list[str], literal: bool
) -> None:
    agree(*spaced, texts, literal)


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
    assert cuts_of(tokenizer)
    change(tokenizer)
    assert cuts_of(tokenizer) is None


def test_a_mark_in_an_added_token_is_no_word_of_its_own(tmp_path: Path) -> None:
    tokenizer = made(tmp_path, None)
    tokenizer.add_tokens(["mill."])
    cuts = cuts_of(tokenizer)
    assert cuts is not None and "." not in cuts.marks and "," in cuts.marks
    agree(tokenizer, cuts, ["the mill. the mill.", "the mill, the mill,"], False)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_tokens([AddedToken("<mask>", normalized=True)]),
        lambda t: setattr(t, "normalizer", normalizers.Lowercase()),
        lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.WhitespaceSplit()),
        lambda t: setattr(t, "model", with_token(t, "a▁b")),
        lambda t: setattr(t, "model", models.BPE(dropout=0.1)),
    ],
)
def test_tokenizers_whose_words_may_hold_a_space_are_left_alone(change: Any) -> None:
    tokenizer, expected = made_spaced("prepended by the normaliser")
    assert cuts_of(tokenizer) == expected
    change(tokenizer)
    assert cuts_of(tokenizer) is None


def with_token(tokenizer: Tokenizer, token: str) -> Any:
    return models.BPE({**tokenizer.get_vocab(with_added_tokens=False), token: 5000}, [])


def made_split(pattern: str) -> Any:
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), last])
