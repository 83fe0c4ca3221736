"""Where the template's text and a content can be tokenised apart, and where not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer

from luthier.data.encoder import Encoder
from luthier.data.shapes import Fill, Shape, Shaper
from luthier.data.skeleton import Gap
from luthier.data.span import Span
from tests.data.made import make_tokenizer


def encoder_of(folder: Path, *added: AddedToken) -> Encoder:
    path = make_tokenizer(folder) / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(list(added))
    tokenizer.save(str(path))
    return Encoder.open(folder)


def shape_of(encoder: Encoder, *texts: str, literal: bool = False) -> Shape | None:
    """The shape of one learned span: the contents of messages 0, 1, … between the texts."""
    fills = tuple((index, False) for index in range(len(texts) - 1))
    gap = Gap(texts, fills, Span("", trained=True, literal=literal))
    return Shaper(encoder).of([gap], len(fills), lambda contents: [gap.filled(contents)])


@pytest.mark.parametrize("before", ["<|im_start|>", "<|im_start|>user\n", "### user:\n", "\n", "<s> x\n"])
@pytest.mark.parametrize("behind", ["<|im_end|>", "<|im_end|>\n", ""])
def test_a_content_between_a_line_break_and_a_control_token_stands_alone(
    tmp_path: Path, before: str, behind: str
) -> None:
    encoder = encoder_of(tmp_path)
    shape = shape_of(encoder, before, behind)
    assert shape is not None and shape.bare and shape.fills == [Fill(0, "", "", stripped=False)]
    outside = encoder.packed([before, behind])
    assert shape.filled([b"content"]) == [outside[0], b"content", *([outside[1]] if behind else [])]
    assert shape.trained == [True] * len(shape.parts)


@pytest.mark.parametrize(
    ("before", "behind", "with_before", "with_behind"),
    [
        ("### user: ", "", "### user: ", ""),
        ("Q:\n", "\n\nA:\n", "", "\n\nA:\n"),
        ("Q", " </s>", "Q", " </s>"),
        ("Q:\n", "\n", "", "\n"),
        ("", ".", "", "."),
    ],
)
def test_any_other_text_is_tokenised_with_the_content(
    tmp_path: Path, before: str, behind: str, with_before: str, with_behind: str
) -> None:
    shape = shape_of(encoder_of(tmp_path), before, behind)
    assert shape is not None and shape.fills == [Fill(0, with_before, with_behind, stripped=False)]
    assert not shape.bare and shape.texts(["x"]) == [f"{with_before}x{with_behind}"]


def test_a_text_between_two_contents_goes_to_the_one_that_it_cannot_be_told_from(tmp_path: Path) -> None:
    encoder = encoder_of(tmp_path)
    first, second = Fill(0, "", "", stripped=False), Fill(1, "", "", stripped=False)
    for middle, fills in [
        ("<|im_end|>\n", [first, second]),
        ("<|im_end|> then ", [first, Fill(1, "<|im_end|> then ", "", stripped=False)]),
        (" then:\n", [Fill(0, "", " then:\n", stripped=False), second]),
    ]:
        shape = shape_of(encoder, "", middle, "")
        assert shape is not None and shape.fills == fills, middle


@pytest.mark.parametrize("middle", ["", " ", "\n", " and "])
def test_contents_that_run_into_each_other_have_no_shape(tmp_path: Path, middle: str) -> None:
    assert shape_of(encoder_of(tmp_path), "", middle, "") is None


@pytest.mark.parametrize("token", ["x<|im_end|>", "<|im_end|>>", "<|im_end|><|im_end|>"])
def test_an_added_token_that_may_stand_across_the_border_keeps_texts_together(tmp_path: Path, token: str) -> None:
    encoder = encoder_of(tmp_path, AddedToken(token, special=False, normalized=False))
    before, behind = shape_of(encoder, "<|im_end|>", "<|im_end|>"), shape_of(encoder, "", "<|im_end|>")
    assert before is not None and before.fills[0].before + before.fills[0].behind
    if not token.startswith("<"):
        assert behind is not None and behind.fills[0].behind == "<|im_end|>"


def test_a_token_that_is_looked_for_in_normalised_text_is_no_border(tmp_path: Path) -> None:
    encoder = encoder_of(tmp_path, AddedToken("<turn>", normalized=True))
    shape = shape_of(encoder, "<turn>", "<turn>")
    assert shape is not None and shape.fills == [Fill(0, "<turn>", "<turn>", stripped=False)]


def test_literal_spans_have_no_shape(tmp_path: Path) -> None:
    assert shape_of(encoder_of(tmp_path), "<|im_end|>", "", literal=True) is None


def test_a_stripped_content_is_stripped(tmp_path: Path) -> None:
    gap = Gap(("<s>", "</s>"), ((0, True),), Span("", trained=False))
    shape = Shaper(encoder_of(tmp_path)).of([gap], 1, lambda contents: [gap.filled(contents)])
    assert shape is not None and not shape.bare and shape.texts([" a b \n"]) == ["a b"]


def test_a_shape_that_renders_otherwise_is_none(tmp_path: Path) -> None:
    gap = Gap(("<s>", "</s>"), ((0, False),), Span("", trained=False))
    shaper = Shaper(encoder_of(tmp_path))
    assert shaper.of([gap], 1, lambda contents: [gap.filled(contents)]) is not None
    assert shaper.of([gap], 1, lambda contents: [gap.filled([contents[0].lower()])]) is None
    assert shaper.of([gap], 1, lambda contents: [Span(gap.filled(contents).text, trained=True)]) is None
