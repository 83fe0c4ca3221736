"""Turns of which only stretches are learned."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message, Ranges
from luthier.data.parts import has_parts, part_spans
from luthier.errors import DataError
from tests.data.made import learned, learned_by_id, make_tokenizer, template_of, text_of_spans, tokens_of

TEXT = "Where is the mill? The mill is here."


def example(content: str, parts: Ranges | None, trained: bool | None = True) -> Example:
    messages = (Message("user", "Hi"), Message("assistant", content, trained, learned=parts))
    return Example(messages, "d:1")


@pytest.fixture(scope="module")
def bytes_alone(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.open(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.mark.parametrize("template", ["chatml", "plain", "alpaca", "firefly/qwen"])
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (((0, len(TEXT)),), [TEXT]),
        (((0, 5),), ["Where"]),
        (((18, 36),), [" The mill is here."]),
        (((5, 8), (22, 27)), [" is", " mill"]),
        (((5, 8), (8, 12)), [" is the"]),
    ],
)
def test_only_the_parts_and_the_end_are_learned(
    template: str, parts: Ranges, expected: list[str], bytes_alone: Encoder
) -> None:
    whole = template_of(template, bytes_alone)
    spans = part_spans(example(TEXT, parts), whole, bytes_alone)
    plain = whole.spans(example(TEXT, None))
    assert text_of_spans(spans) == text_of_spans(plain)
    head, end = learned(plain)[0].split(TEXT)
    wanted = [head, *expected, end]
    if parts[0][0] == 0:
        wanted[:2] = [head + expected[0]]
    if parts[-1][1] == len(TEXT):
        wanted[-2:] = [wanted[-2] + end]
    assert learned(spans) == [text for text in wanted if text]


def test_parts_reach_as_far_as_their_tokens(bytes_alone: Encoder) -> None:
    """The mill: one token a word, its space first."""
    spans = part_spans(example(TEXT, ((14, 16),)), template_of("chatml", bytes_alone), bytes_alone)
    assert learned(spans)[0] == " mill"


def test_the_ids_are_those_of_the_whole_turn(bytes_alone: Encoder) -> None:
    template = template_of("chatml", bytes_alone)
    tokens = tokens_of(part_spans(example(TEXT, ((14, 16),)), template, bytes_alone), bytes_alone)
    whole = tokens_of(template.spans(example(TEXT, None)), bytes_alone)
    assert tokens.ids.tolist() == whole.ids.tolist()
    assert learned_by_id(tokens, bytes_alone) == [" mill", "<|im_end|>"]


def test_white_space_that_a_template_strips_is_no_hindrance(bytes_alone: Encoder) -> None:
    template = template_of("firefly/qwen", bytes_alone)
    spans = part_spans(example(f"  {TEXT} \n", ((0, 7), (20, 40))), template, bytes_alone)
    assert text_of_spans(spans) == text_of_spans(template.spans(example(TEXT, None)))
    assert learned(spans)[0] == "Where"


@pytest.mark.parametrize(("parts", "trained"), [((), False), (((0, 3),), False)])
def test_a_turn_that_is_not_learned_has_no_learned_parts(parts: Ranges, trained: bool, bytes_alone: Encoder) -> None:
    assert has_parts(example(TEXT, parts, trained))
    assert learned(part_spans(example(TEXT, parts, trained), template_of("chatml", bytes_alone), bytes_alone)) == []


def test_of_the_last_turn_alone_the_parts_are_learned(bytes_alone: Encoder) -> None:
    first = (Message("user", "A"), Message("assistant", TEXT, trained=True, learned=((0, 5),)))
    talk = Example((*first, *example(TEXT, ((5, 8),)).messages), "d:1")
    spans = part_spans(talk, template_of("chatml", bytes_alone, last_turn_only=True), bytes_alone)
    assert learned(spans) == [" is", "<|im_end|>"]


def test_private_characters_in_the_text_stay_text(bytes_alone: Encoder) -> None:
    text = "\U000ffffd a \U000ffffc b"
    spans = part_spans(example(text, ((1, 3),)), template_of("chatml", bytes_alone), bytes_alone)
    assert text in text_of_spans(spans)
    assert learned(spans)[0] == " a"


def test_a_template_that_rewrites_the_turn_is_refused(bytes_alone: Encoder) -> None:
    cutting = "{% for m in messages %}<|im_start|>{{ m.content[:4] }}<|im_end|>{% endfor %}"
    with pytest.raises(DataError, match="rewrites a turn that is learned in parts") as caught:
        part_spans(example(TEXT, ((5, 8),)), template_of(cutting, bytes_alone), bytes_alone)
    assert caught.value.faults[0].place == "d:1" and caught.value.faults[0].remedy


def test_a_conversation_without_parts_has_none(tmp_path: Path) -> None:
    assert not has_parts(example(TEXT, None))
