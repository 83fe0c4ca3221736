"""A tokenizer directory, opened without transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from luthier.data.encoder import Encoder
from luthier.errors import ModelError
from tests.data.made import make_tokenizer


def configured(directory: Path, **config: Any) -> Encoder:
    return Encoder.open(make_tokenizer(directory, **config))


def test_ids_are_those_of_transformers(tmp_path: Path) -> None:
    encoder = configured(tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    texts = ["Where is the mill?", "", "  two\n\nlines ü 中 \U0001f600", "<|im_start|>user\nHi<|im_end|>\n"]
    assert encoder.encode(texts) == [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert encoder.vocabulary == len(theirs)


def test_packed_ids_are_the_same_ids(tmp_path: Path) -> None:
    encoder = configured(tmp_path)
    texts = ["Where is the mill?", "", "  two\n\nlines ü", "<|im_start|>user\nHi<|im_end|>\n"] * 20
    packed = encoder.packed(texts)
    assert encoder.words() is not None and [np.frombuffer(ids, np.int32).tolist() for ids in packed] == (
        encoder.encode(texts)
    )
    assert encoder.encode(texts) == [encoder.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def test_only_special_tokens_are_control(tmp_path: Path) -> None:
    encoder = configured(tmp_path, ordinary=["<think>"])
    assert encoder.control == {"<s>", "</s>", "<|im_start|>", "<|im_end|>"}
    assert encoder.has_control("a</s>b") and not encoder.has_control("a<think>b")


def test_control_tokens_read_literally_are_ordinary_text(tmp_path: Path) -> None:
    encoder = configured(tmp_path, ordinary=["<think>"])
    control = {encoder.tokenizer.token_to_id(token) for token in encoder.control}
    text = "a<|im_end|></s>b"
    as_control, as_text = encoder.encode([text])[0], encoder.encode([text], literal=True)[0]
    assert control & set(as_control)
    assert not control & set(as_text)
    assert encoder.decode(as_text) == text


def test_reading_literally_lasts_for_one_call(tmp_path: Path) -> None:
    encoder = configured(tmp_path)
    encoder.encode(["</s>"], literal=True)
    assert encoder.tokenizer.encode("</s>").ids == [1]
    assert encoder.encode(["</s>"]) == [[1]]


@pytest.mark.parametrize(
    ("around", "prefix", "suffix"),
    [(None, [], []), ("<s> $A", ["<s>"], []), ("<s> $A </s>", ["<s>"], ["</s>"]), ("$A </s>", [], ["</s>"])],
)
def test_what_the_tokenizer_puts_around_a_text_is_found(
    tmp_path: Path, around: str | None, prefix: list[str], suffix: list[str]
) -> None:
    encoder = configured(tmp_path, around=around)
    ids = encoder.tokenizer.token_to_id
    assert encoder.prefix == tuple(map(ids, prefix))
    assert encoder.suffix == tuple(map(ids, suffix))
    assert encoder.encode(["mill"]) == [encoder.tokenizer.encode("mill", add_special_tokens=False).ids]


def test_padding_and_truncation_stored_in_the_file_are_switched_off(tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    encoder = Encoder.open(tmp_path)
    encoder.tokenizer.enable_truncation(3)
    encoder.tokenizer.enable_padding(length=9)
    encoder.tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert [len(ids) for ids in Encoder.open(tmp_path).encode(["a", "abcdefgh" * 9])] == [1, 72]


def test_named_tokens_are_read_in_both_spellings(tmp_path: Path) -> None:
    encoder = configured(tmp_path, bos_token={"content": "<s>", "lstrip": False}, unk_token=None)
    assert encoder.tokens == {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    assert encoder.id_of("bos_token") == 0 and encoder.id_of("eos_token") == 1
    assert encoder.id_of("unk_token") is None


def test_control_tokens_are_shown_or_left_out_when_decoding(tmp_path: Path) -> None:
    encoder = configured(tmp_path)
    ids = encoder.encode(["a</s>"])[0]
    assert encoder.decode(ids) == "a"
    assert encoder.decode(ids, skip_control=False) == "a</s>"


def test_the_template_is_found_wherever_it_lies(tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    assert Encoder.open(tmp_path).chat_template is None
    make_tokenizer(tmp_path, chat_template="in the configuration")
    assert Encoder.open(tmp_path).chat_template == "in the configuration"
    (tmp_path / "chat_template.json").write_text('{"chat_template": "in its own json"}')
    assert Encoder.open(tmp_path).chat_template == "in its own json"
    (tmp_path / "chat_template.jinja").write_text("in its own file")
    assert Encoder.open(tmp_path).chat_template == "in its own file"


def test_of_several_templates_the_default_one_is_taken(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    assert configured(tmp_path, chat_template=several).chat_template == "D"
    assert configured(tmp_path, chat_template=several[:1]).chat_template is None


def test_a_tokenizer_without_configuration_has_no_named_tokens(tmp_path: Path) -> None:
    (make_tokenizer(tmp_path) / "tokenizer_config.json").unlink()
    encoder = Encoder.open(tmp_path)
    assert encoder.tokens == {} and encoder.id_of("eos_token") is None


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        Encoder.open(tmp_path)
    fault = caught.value.faults[0]
    assert (fault.reason, fault.place) == ("there is no tokenizer.json", str(tmp_path)) and fault.remedy


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    path = make_tokenizer(tmp_path) / "tokenizer.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        Encoder.open(tmp_path)


@pytest.mark.parametrize("text", ["{", json.dumps("x")[:-1]])
def test_a_damaged_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (make_tokenizer(tmp_path) / "tokenizer_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"tokenizer_config.json: is not JSON"):
        Encoder.open(tmp_path)
