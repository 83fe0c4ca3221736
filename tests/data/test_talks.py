"""In bulk or one by one: the ids, the masks and the origins are the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from luthier.data.block import Block
from luthier.data.making import Made, Maker
from luthier.data.talks import Talks, plain_source
from luthier.data.words import _KNOWN
from luthier.errors import LuthierError
from luthier.recipe.validate import build
from tests.data.made import make_tokenizer, source_of
from tests.data.test_words import with_runs

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
SPECIAL += ["<|begin_of_text|>", "[INST]", "[/INST]"]
SOURCE = source_of("d.jsonl", format="messages")

PIECES = [
    "The",
    " mill",
    "mill.",
    "  ",
    " ",
    "\n",
    "\t",
    "中文。",
    "é",
    "\u0308",
    "'s",
    "12",
    "<think>",
    "🙂",
    "\u00a0x",
]
PIECES += ["\n\n", "!", "<|im_end|>", "<|im_", "end|>", "[INST]", "{{ x }}", "\x00", "\u2028", "?? ", "assistant\n"]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=9).map("".join),
    st.lists(st.sampled_from(["The", "mill.", "stands", "here,", "and", "so"]), min_size=1).map(" ".join),
)
ROLES = [("user", "assistant"), ("system", "user", "assistant"), ("user", "assistant") * 2, ("human", "gpt"), ("user",)]
ROLES += [("assistant", "user"), ("user", "tool", "assistant"), ("user", "nobody"), ("system", "human", "bot")]
ODD: list[Any] = [
    b"", b"[]", b"{", b"3", b'"x"', b'{"messages": []}',
    b'{"messages": [], "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}',
    b'{"messages": {"role": "user"}}', b'{"messages": ["ab"]}', b'{"messages": [{"role": "user"}]}', b"\xff",
    b'{"messages": [{"role": ["user"], "content": "x"}]}', b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"messages": [{"role": "user", "content": 3}]}', b'\xef\xbb\xbf{"messages": [{"role": "user", "content": "x"}]}',
    b'{"messages": [{"role": "user", "content": "x", "trained": true}, {"role": "assistant", "content": "y"}]}',
    b'{"messages": [{"role": "user", "content": "a"}, {"from": "gpt", "value": "b"}], "id": 3}',
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "n": 1e999}',
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "n": NaN}',
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "n": '
    + b"9" * 5000 + b"}",
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "n": '
    + b"[" * 990 + b"]" * 990 + b"}",
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "system": "s"}',
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "system": ""}',
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tools": "["}',
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tags": ["x", {}]}',
    b'{"messages": null, "conversation": [{"human": "a", "assistant": "b"}]}',
    b'{"messages": [{"role": "user", "content": "a"}], "messages": [{"role": "assistant", "content": "b"}]}',
]  # fmt: skip


def maker_of(folder: Path, template: str, *, pattern: str | None = None, nfc: bool = False, **data: Any) -> Maker:
    directory = make_tokenizer(folder, special=SPECIAL, ordinary=["<think>"], bos_token="<s>")
    tokenizer = with_runs(Tokenizer.from_file(str(directory / "tokenizer.json")))
    if pattern is not None:
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), last])
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(directory / "tokenizer.json"))
    wanted = {"train": [{"path": "d.jsonl"}], "template": template, "max_length": 64, **data}
    return Maker.open(build({"model": {"path": "none"}, "data": wanted}, str), directory)


def block_of(rows: Sequence[bytes]) -> Block:
    return Block("d.jsonl", range(3, 3 + 2 * len(rows), 2), rows)


def shown(made: Made) -> Any:
    documents = [(one.origin, one.ids.tolist(), one.trained.tolist(), one.head) for one in made.batch.documents()]
    return documents, [(one.fault, one.raw) for one in made.broken]


def agree(maker: Maker, rows: Sequence[bytes]) -> None:
    block = block_of(rows)
    assert shown(maker.block(SOURCE, block)) == shown(maker._common(SOURCE, block))


def row(roles: Sequence[str], texts: Sequence[str], ascii_only: bool = True) -> bytes:
    names = ("from", "value") if roles[0] == "human" else ("role", "content")
    turns = [dict(zip(names, turn, strict=True)) for turn in zip(roles, texts, strict=False)]
    return json.dumps({"messages": turns}, ensure_ascii=ascii_only).encode()


TEMPLATES = ["chatml", "llama3", "zephyr", "phi3", "qwen", "mistral", "alpaca", "vicuna", "firefly/qwen", "chatglm3"]
TEMPLATES += ["llama3_1", "mistral_v3_tekken", "metharme", "fastchat/zero_shot"]


@pytest.fixture(
    scope="module", params=[*((name, None) for name in TEMPLATES), *(("chatml", one) for one in sorted(_KNOWN))]
)
def maker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    template, pattern = request.param
    return maker_of(tmp_path_factory.mktemp("t"), template, pattern=pattern, nfc=pattern is not None)


@given(st.lists(st.tuples(st.sampled_from(ROLES[:5]), st.lists(TEXTS, min_size=4, max_size=4)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_what_is_made_in_bulk_is_what_is_made_one_by_one(maker: Maker, talks: list[Any]) -> None:
    rows = [row(roles, texts, ascii_only=number % 2 == 0) for number, (roles, texts) in enumerate(talks)]
    try:
        maker._common(SOURCE, block_of(rows))
    except LuthierError as error:
        with pytest.raises(type(error)):
            maker.block(SOURCE, block_of(rows))
    else:
        agree(maker, rows)


@pytest.mark.parametrize(
    "data",
    [
        {}, {"system": "Be brief."}, {"system": " Be brief."}, {"train_on": ["user", "assistant"]},
        {"train_on": ["assistant", "template"]},
        {"last_turn_only": True}, {"overlong": "keep_answer", "max_length": 40}, {"near_duplicates": 0.9},
    ],
    ids=str,
)  # fmt: skip
def test_odd_rows_among_plain_ones_keep_their_places(tmp_path: Path, data: dict[str, Any]) -> None:
    maker = maker_of(tmp_path, "chatml", **data)
    plain = [row(roles, ["Where is the mill?", "Here, by the brook.", "And Mira?", "At home. " * 9]) for roles in ROLES]
    agree(maker, [one for pair in zip(ODD, plain * 9, strict=False) for one in pair])


def test_plain_rows_do_go_in_bulk(tmp_path: Path) -> None:
    rows = [row(roles, ["Where  is it?", "Here.\n\nOr there", "And?", "No."]) for roles in (*ROLES[:5], ROLES[8])]
    for name in ("chatml", "llama3", "llama3_1", "zephyr", "phi3", "firefly/qwen"):
        maker = maker_of(tmp_path, name)
        told = Talks.of(maker.recipe, maker.template(), maker.encoder).told(block_of(rows))  # type: ignore[union-attr]
        assert told is not None and len(told.rows) >= 4 and sorted([*told.rows, *told.left]) == list(range(6)), name


def test_a_row_with_a_control_token_is_left_alone(tmp_path: Path) -> None:
    maker = maker_of(tmp_path, "chatml")
    talks = Talks.of(maker.recipe, maker.template(), maker.encoder)
    told = talks and talks.told(block_of([row(ROLES[0], ["a<|im_end|>", "b"]), row(ROLES[0], ["a<|im_", "end|>b"])]))
    assert told is not None and (told.rows, told.left) == ([1], [0])


@pytest.mark.parametrize(
    "settings",
    [
        {"format": "alpaca"}, {"format": "auto"}, {"columns": {"messages": "talk"}}, {"drop_system": True},
        {"train_on": ("user",)}, {"turns": {"role": "who"}}, {"roles": {"user": ("asker",)}}, {"split_thinking": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_source_of_which_more_is_asked_is_not_plain(settings: dict[str, Any]) -> None:
    assert plain_source(source_of("d.jsonl", format="messages", weight=2.0, rows=7))
    assert not plain_source(source_of("d.jsonl", **{"format": "messages", **settings}))
