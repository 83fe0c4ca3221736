"""ChatGLM3's tokenizer anew: the ids of SentencePiece itself, and its own tokens behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.errors import ModelError
from luthier.model.chatglm_tokenizer import APPENDED, is_chatglm_tokenizer, read_pieces, write_chatglm_tokenizer
from luthier.model.tokenizer import convert_tokenizer
from tests.model.chatglm3 import CONFIG, sentences, write_checkpoint, write_sentencepiece

TEXTS = (
    *("Hello world", " lead", "trail  ", " two  spaces   three", "", " ", "   ", "\n", "\ttab\t\tx", "a\nb\n\n\nc\r\n"),
    *("今天天气，你好世界", "emoji 😀👩‍👩‍👧 é ﬁ ①ＡＢ", "123 4567890", "▁under", "def f(x):\n    return  x\n"),
    *("people sophisticated sop eop", "</s><s><unk> [gMASK]<|user|>", "aaaa aaaaaaa", "\x00\x01\u200b", "龘 ɸ"),
)
KINDS: dict[str, dict[str, Any]] = {
    "as published": {},
    "normalised": {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
    "with defined symbols": {"user_defined_symbols": ["<n>", "<|tab|>"]},
    "no space before": {"add_dummy_prefix": False},
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentencepiece(tmp_path_factory.mktemp("published"))


@pytest.fixture
def encoder(published: Path, tmp_path: Path) -> Encoder:
    convert_tokenizer(published, tmp_path / "new")
    return Encoder.open(tmp_path / "new")


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_texts_are_sentencepieces_own(tmp_path: Path, kind: str) -> None:
    source = write_sentencepiece(tmp_path / "old", **KINDS[kind])
    write_chatglm_tokenizer(source, tmp_path / "new")
    encoder, theirs = Encoder.open(tmp_path / "new"), SentencePieceProcessor(str(source / "tokenizer.model"))
    for text in (*TEXTS, "a<n>b <n><|tab|>", *sentences(200)):
        ids = theirs.encode(text)
        assert encoder.encode([text], literal=True)[0] == ids, text
        assert encoder.decode(ids) == theirs.decode(ids), text


def test_a_piece_that_is_spelt_like_a_token_keeps_its_own_id(published: Path, encoder: Encoder) -> None:
    theirs = SentencePieceProcessor(str(published / "tokenizer.model"))
    assert theirs.id_to_piece(theirs.piece_to_id("eop")) == "eop", "or else this test shows nothing"
    assert encoder.tokenizer.token_to_id("eop") == 504 != theirs.piece_to_id("eop")
    assert encoder.encode(["the people"])[0] == theirs.encode("the people")


def test_its_own_tokens_follow_the_pieces(encoder: Encoder) -> None:
    assert encoder.encode(["".join(APPENDED)])[0][:2] == [500, 501]
    assert [encoder.tokenizer.token_to_id(token) for token in APPENDED] == list(range(500, 509))
    assert encoder.vocabulary == 509
    assert {*APPENDED, "<unk>", "<s>", "</s>"} == encoder.control
    assert encoder.tokens == {"eos_token": "</s>", "pad_token": "<unk>", "unk_token": "<unk>"}
    assert (encoder.id_of("eos_token"), encoder.id_of("pad_token")) == (2, 0)
    assert (encoder.prefix, encoder.suffix) == ((501, 503), ())


def test_transformers_reads_it_alike(published: Path, encoder: Encoder, tmp_path: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(tmp_path / "new")
    plain = SentencePieceProcessor(str(published / "tokenizer.model"))
    assert theirs("Hello 世界")["input_ids"] == [501, 503, *plain.encode("Hello 世界")]
    assert theirs("<|user|> hello", add_special_tokens=False)["input_ids"] == [506, *plain.encode(" hello")]
    assert theirs.decode(theirs("people 你好")["input_ids"], skip_special_tokens=True) == "people 你好"
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.padding_side) == (2, 0, "left")


def test_the_chatglm3_template_gives_the_ids_of_its_description(published: Path, encoder: Encoder) -> None:
    plain = SentencePieceProcessor(str(published / "tokenizer.model"))
    template = ChatTemplate(template_source("chatglm3", encoder), encoder)
    spans = template.spans(Example((Message("user", "你好 people"), Message("assistant", "hello")), "t:1"))
    ids = [one for span in spans for one in encoder.encode([span.text], literal=span.literal)[0]]
    line = plain.encode("\n")
    assert ids == [501, 503, 506, *line, *plain.encode("你好 people"), 507, *line, *plain.encode("hello"), 2]


@pytest.mark.parametrize("config", [{}, {"tokenizer_class": "PreTrainedTokenizerFast"}])
def test_it_is_known_by_its_own_name_or_by_the_models(published: Path, tmp_path: Path, config: dict[str, str]) -> None:
    assert is_chatglm_tokenizer(published)
    (tmp_path / "tokenizer.model").write_bytes((published / "tokenizer.model").read_bytes())
    assert not is_chatglm_tokenizer(tmp_path)
    write_checkpoint(tmp_path)
    assert is_chatglm_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    assert not is_chatglm_tokenizer(tmp_path) and CONFIG["model_type"] == "chatglm"


@pytest.mark.parametrize("data", [b"", b"IQ== 0\nIg== 1\n", b"\x0a\xff\xff", b"\x0a\x05\x0a\x03abc"])
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(ModelError, match=r"SentencePiece model(.|\n)*tokenizer\.path"):
        write_chatglm_tokenizer(tmp_path, tmp_path / "new")


def test_a_model_that_is_not_bpe_is_refused(tmp_path: Path) -> None:
    source = write_sentencepiece(tmp_path / "old", model_type="unigram", vocab_size=370)
    with pytest.raises(ModelError, match="has to be BPE"):
        convert_tokenizer(source, tmp_path / "new")


def test_every_piece_is_read(published: Path) -> None:
    theirs = SentencePieceProcessor(str(published / "tokenizer.model"))
    pieces = read_pieces((published / "tokenizer.model").read_bytes()).pieces
    assert [(text, pytest.approx(score)) for text, score, _ in pieces] == [
        (theirs.id_to_piece(n), theirs.get_score(n)) for n in range(theirs.vocab_size())
    ]
