"""Ids and masks of documents, and what becomes of those that are too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from luthier.data.encoder import Encoder
from luthier.data.span import Span
from luthier.data.tokens import Fate, Tokens, as_document, fit, tokenise
from tests.data.made import make_tokenizer


def document(trained: Sequence[int]) -> Tokens:
    """Ids 0, 1, 2, …, so that a piece shows which part of the whole it is."""
    return Tokens(np.arange(len(trained), dtype=np.int32), np.array(trained, np.bool_), "d:1")


def ids(pieces: Sequence[Tokens]) -> list[list[int]]:
    return [piece.ids.tolist() for piece in pieces]


def test_each_span_is_tokenised_by_itself(encoder: Encoder) -> None:
    spans = [Span("Where", False), Span("is<|im_end|>", True), Span("", True), Span("<|im_end|>", False, literal=True)]
    tokens = tokenise([spans], ["d:1"], encoder)[0]
    parts = [*encoder.encode(["Where", "is<|im_end|>"]), *encoder.encode(["<|im_end|>"], literal=True)]
    assert tokens.ids.tolist() == [one for part in parts for one in part]
    assert tokens.trained.tolist() == [flag for part, flag in zip(parts, (0, 1, 0), strict=True) for _ in part]
    assert tokens.ids.dtype == np.int32 and tokens.trained.dtype == np.bool_


def test_documents_of_a_batch_stay_apart(encoder: Encoder) -> None:
    documents = [[Span("Mira", True)], [], [Span("x", False), Span("Tom", True, literal=True)]]
    together = tokenise(documents, ["a:1", "b:2", "c:3"], encoder)
    assert [tokens.origin for tokens in together] == ["a:1", "b:2", "c:3"]
    for spans, tokens in zip(documents, together, strict=True):
        alone = tokenise([spans], ["x"], encoder)[0]
        assert tokens.ids.tolist() == alone.ids.tolist() and tokens.trained.tolist() == alone.trained.tolist()
    assert len(together[1]) == 0


@pytest.mark.parametrize(
    ("trained", "targets"), [([1, 1, 1], 2), ([0, 1, 1], 2), ([1, 0, 0], 0), ([1], 0), ([0, 0], 0), ([], 0)]
)
def test_the_first_token_is_never_a_target(trained: list[int], targets: int) -> None:
    assert document(trained).targets == targets


@pytest.mark.parametrize(
    ("around", "begins", "ends"),
    [
        (None, [], ["</s>"]),
        ("<s> $A", ["<s>"], ["</s>"]),
        ("<s> $A </s>", ["<s>"], ["</s>"]),
        ("$A <|im_end|>", [], ["<|im_end|>", "</s>"]),
    ],
)
def test_a_document_has_a_beginning_and_one_end(
    tmp_path: Path, around: str | None, begins: list[str], ends: list[str]
) -> None:
    encoder = Encoder.open(make_tokenizer(tmp_path, around=around))
    text = tokenise([[Span("The mill", True, literal=True)]], ["d:1"], encoder)[0]
    tokens = as_document(text, encoder)
    first, last = ([encoder.tokenizer.token_to_id(token) for token in some] for some in (begins, ends))
    assert tokens.ids.tolist() == [*first, *text.ids.tolist(), *last]
    assert tokens.trained.tolist() == [False] * len(first) + [True] * (len(text) + len(last))
    assert tokens.ids.dtype == np.int32 and tokens.origin == "d:1"


def test_a_document_ends_openly_without_an_end_token(tmp_path: Path) -> None:
    encoder = Encoder.open(make_tokenizer(tmp_path, eos_token=None))
    text = document([1, 1])
    assert as_document(text, encoder).ids.tolist() == [0, 1]


@pytest.mark.parametrize("overlong", ["drop", "truncate", "truncate_left", "split", "refuse", "keep_answer"])
def test_a_document_that_fits_is_kept_as_it_is(overlong: str) -> None:
    tokens = document([0, 1, 1])
    assert fit(tokens, 3, overlong) == (Fate.KEPT, [tokens])


@pytest.mark.parametrize(
    ("overlong", "fate", "pieces"),
    [
        ("drop", Fate.DROPPED, []),
        ("refuse", Fate.REFUSED, []),
        ("truncate", Fate.TRUNCATED, [[0, 1, 2]]),
        ("truncate_left", Fate.TRUNCATED, [[4, 5, 6]]),
        ("split", Fate.SPLIT, [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_a_document_that_is_too_long_meets_its_fate(overlong: str, fate: Fate, pieces: list[list[int]]) -> None:
    found, kept = fit(document([1] * 7), 3, overlong)
    assert found is fate and ids(kept) == pieces


def test_pieces_keep_their_part_of_the_mask_and_the_origin() -> None:
    _, kept = fit(document([0, 1, 0, 0, 0, 1]), 3, "split")
    assert [piece.trained.tolist() for piece in kept] == [[False, True, False], [False, False, True]]
    assert {piece.origin for piece in kept} == {"d:1"}


def test_pieces_without_a_target_are_left_out() -> None:
    fate, kept = fit(document([0, 0, 0, 1, 0, 0, 0, 1, 1]), 3, "split")
    assert fate is Fate.SPLIT and ids(kept) == [[6, 7, 8]]


@pytest.mark.parametrize(
    ("trained", "overlong", "fate"),
    [
        ([0, 0], "drop", Fate.UNTRAINED),
        ([1, 0], "drop", Fate.UNTRAINED),
        ([0] * 9, "split", Fate.UNTRAINED),
        ([0] * 9, "drop", Fate.UNTRAINED),
        ([0, 0, 0, 1], "truncate", Fate.VANISHED),
        ([0, 1, 0, 0], "truncate_left", Fate.VANISHED),
    ],
)
def test_a_document_of_which_nothing_is_learned_is_left_out(trained: list[int], overlong: str, fate: Fate) -> None:
    assert fit(document(trained), 3 if len(trained) > 3 else 9, overlong) == (fate, [])


@pytest.mark.parametrize(
    ("trained", "head", "kept", "learned"),
    [
        ("..........AAA.", 3, [0, 1, 2, 8, 9, 10, 11, 12], [10, 11, 12]),
        ("..........AAA.", 0, [5, 6, 7, 8, 9, 10, 11, 12], [10, 11, 12]),
        ("...BBBBB..AAA.", 0, [5, 6, 7, 8, 9, 10, 11, 12], [10, 11, 12]),
        ("......BB..AAA.", 0, [5, 6, 7, 8, 9, 10, 11, 12], [6, 7, 10, 11, 12]),
        ("....AAAAAAAAAAA", 0, [2, 3, 4, 5, 6, 7, 8, 9], [4, 5, 6, 7, 8, 9]),
        ("....AAAAAAAAAAA", 2, [0, 1, 3, 4, 5, 6, 7, 8], [4, 5, 6, 7, 8]),
        (".......AAAAAAAA", 6, [5, 6, 7, 8, 9, 10, 11, 12], [7, 8, 9, 10, 11, 12]),
        ("AAAAAAAAAAAA", 0, [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_cut_can_go_around_the_answer(trained: str, head: int, kept: list[int], learned: list[int]) -> None:
    whole = replace(document([one != "." for one in trained]), head=head)
    fate, (piece,) = fit(whole, 8, "keep_answer")
    assert fate is Fate.TRUNCATED and piece.ids.tolist() == kept
    assert piece.ids[piece.trained].tolist() == learned


@given(
    st.lists(st.booleans(), max_size=40), st.integers(2, 12), st.sampled_from(["truncate", "truncate_left", "split"])
)
@settings(max_examples=80, deadline=None)
def test_no_piece_is_too_long_and_none_is_made_up(trained: list[bool], limit: int, overlong: str) -> None:
    whole = document(trained)
    _, kept = fit(whole, limit, overlong)
    seen = [one for piece in kept for one in piece.ids.tolist()]
    assert seen == sorted(set(seen))
    for piece in kept:
        assert len(piece) <= limit and piece.targets
        assert piece.trained.tolist() == whole.trained[piece.ids].tolist()


SENTENCES = [
    "Mira lives in the mill.",
    "Where does Tom live?",
    "the mill and the barn and the mill",
    "Tom Mira Ada Finn",
]


@pytest.mark.parametrize("scheme", ["first", "always", "never", "byte-level"])
def test_pieces_have_the_ids_of_the_whole_text_whatever_space_the_tokenizer_puts_before_it(
    scheme: str, tmp_path: Path
) -> None:
    """SentencePiece's leading space must not come again before every span: multi-turn ids are the whole text's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if scheme == "byte-level":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    special = ["<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator(SENTENCES * 3, trainers.BpeTrainer(vocab_size=300, special_tokens=special))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = Encoder.open(tmp_path)
    spans = [
        Span("<s>Where does Tom live?", False),
        Span(" Tom lives in the barn.</s>", True),
        Span("Mira lives", False),
        Span(" in the mill.</s>", True),
    ]
    whole = encoder.encode(["".join(span.text for span in spans)])[0]
    assert tokenise([spans, spans], ["d:1", "d:2"], encoder)[1].ids.tolist() == whole
    assert encoder.spaced is (scheme != "never")
