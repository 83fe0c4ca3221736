"""ChatGLM3's tokenizer, a SentencePiece model and tokens behind it, as a ``tokenizer.json``.

The file's format is Google's ``sentencepiece_model.proto``; its few fields that count are read here, so that the
sentencepiece package is not needed.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from luthier.errors import ModelError
from luthier.model.chatglm import is_chatglm

APPENDED = (
    *("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
)
"""Tokens that ChatGLM3 has behind its SentencePiece pieces, in the order of their ids."""

FILE = "tokenizer.model"
NORMAL, UNKNOWN, CONTROL, DEFINED, UNUSED, BYTE = range(1, 7)
BPE = 2


@dataclass(frozen=True, slots=True)
class Pieces:
    """A SentencePiece model: (text, score, kind) of each id, and how it prepares a text."""

    pieces: tuple[tuple[str, float, int], ...]
    bpe: bool
    byte_fallback: bool
    suffixed: bool
    charsmap: bytes
    prefixed: bool
    collapsed: bool


def is_chatglm_tokenizer(directory: Path) -> bool:
    """Whether a directory holds ChatGLM's tokenizer as a SentencePiece model."""
    if not (directory / FILE).exists():
        return False
    try:
        named = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8")).get("tokenizer_class")
    except (OSError, ValueError, AttributeError):
        named = None
    return named == "ChatGLMTokenizer" or is_chatglm(directory)


def write_chatglm_tokenizer(directory: Path, into: Path) -> None:
    """Write ChatGLM3's tokenizer in today's layout: its own ids, ``[gMASK] sop`` before every text.

    Raises:
        ModelError: the file is not a SentencePiece model of ChatGLM3's kind.
    """
    path = directory / FILE
    try:
        model = read_pieces(path.read_bytes())
    except (ValueError, IndexError, struct.error) as error:
        raise _refused(path, "is not a SentencePiece model") from error
    if not (model.pieces and model.bpe) or model.suffixed or any(kind == UNUSED for _, _, kind in model.pieces):
        raise _refused(path, "is a SentencePiece model of another kind than ChatGLM3's: it has to be BPE")
    into.mkdir(parents=True, exist_ok=True)
    _tokenizer(model).save(str(into / "tokenizer.json"))
    unknown, end = (_of_kind(model, kind) for kind in (UNKNOWN, CONTROL))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "</s>" if "</s>" in end else end[-1],
        "unk_token": unknown[0],
        "pad_token": unknown[0],
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(1e30),
    }
    (into / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def read_pieces(data: bytes) -> Pieces:
    """A serialised SentencePiece model.

    Raises:
        ValueError, IndexError, struct.error: it is something else.
    """
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(value))
            score = struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0
            pieces.append((piece[1].decode("utf-8"), score, piece.get(3, NORMAL)))
        elif number in (2, 3):
            (trainer if number == 2 else normalizer).update(_fields(value))
    return Pieces(
        pieces=tuple(pieces),
        bpe=trainer.get(3, 1) == BPE,
        byte_fallback=bool(trainer.get(35, 0)),
        suffixed=bool(trainer.get(24, 0)),
        charsmap=normalizer.get(2, b""),
        prefixed=bool(normalizer.get(3, 1)),
        collapsed=bool(normalizer.get(4, 1)),
    )


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a protobuf message's fields; whole numbers as int, all else as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("it ends early")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _tokenizer(model: Pieces) -> Tokenizer:
    hidden = _stand_ins(model)
    texts = [text.translate(hidden) if kind in (NORMAL, DEFINED) else text for text, _, kind in model.pieces]
    defined = [text for text, (_, _, kind) in zip(texts, model.pieces, strict=True) if kind == DEFINED]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={text: number for number, text in enumerate(texts)},
            merges=_merges(model, texts),
            unk_token=_of_kind(model, UNKNOWN)[0],
            fuse_unk=True,
            byte_fallback=model.byte_fallback,
            ignore_merges=bool(defined),
        )
    )
    steps: list[Any] = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.collapsed:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    steps += [normalizers.Prepend("▁")] if model.prefixed else []
    steps += [normalizers.Replace(chr(one), other) for one, other in hidden.items()]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    if defined:
        longest = "|".join(re.escape(text) for text in sorted(defined, key=len, reverse=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(longest), "isolated")
    shown = [decoders.Replace(other, chr(one)) for one, other in hidden.items()]
    strip = [decoders.Strip(" ", 1, 0)] if model.prefixed else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), *shown, decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    own = [*_of_kind(model, UNKNOWN), *_of_kind(model, CONTROL)]
    # "eop" is part of "people": only as a word of its own may it be read as the token.
    tokenizer.add_special_tokens(
        [AddedToken(one, special=True, normalized=False, single_word=one.isalpha()) for one in (*own, *APPENDED)]
    )
    begin = [("[gMASK]", tokenizer.token_to_id("[gMASK]")), ("sop", tokenizer.token_to_id("sop"))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[gMASK] sop $A", pair="[gMASK] sop $A $B", special_tokens=begin
    )
    return tokenizer


def _stand_ins(model: Pieces) -> dict[int, str]:
    """Letters that need another one in the file, for private use.

    A token and a piece of one text would have one id there, and "eop" can well be a piece of "people" and is a token of
    ChatGLM3's: with another letter for its last one, wherever a piece has it, the two stay apart.
    """
    shared = {text[-1] for text, _, _ in model.pieces if text in APPENDED}
    return {ord(letter): chr(0xF0000 + ord(letter)) for letter in sorted(shared)}


def _merges(model: Pieces, texts: list[str]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two, best score first: SentencePiece merges whatever makes a piece."""
    usual = {text: n for n, (text, (_, _, kind)) in enumerate(zip(texts, model.pieces, strict=True)) if kind == NORMAL}
    found: list[tuple[str, str]] = []
    for text in sorted(usual, key=lambda one: -model.pieces[usual[one]][1]):
        halves = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        known = [(left, right) for left, right in halves if left in usual and right in usual]
        found += sorted(known, key=lambda pair: (usual[pair[0]], usual[pair[1]]))
    return found


def _of_kind(model: Pieces, kind: int) -> list[str]:
    return [text for text, _, one in model.pieces if one == kind]


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(reason, place=str(path), remedy="set tokenizer.path to a directory with a tokenizer.json")
