"""Rows through TRL's own SFTTrainer: the same ids and labels. ``LUTHIER_ORACLE_TRL`` names a Python that has TRL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.data.convert import attempts_of
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.making import Maker
from luthier.data.template_names import missing_tokens, template_source
from luthier.data.tokens import fit
from luthier.recipe.validate import build
from tests.conftest import write_jsonl
from tests.data.made import make_tokenizer
from tests.oracle.peers import asked

pytestmark = pytest.mark.oracle

CHATML = """{% if tools %}
{{ '<|im_start|>tools\n' }}{% for tool in tools %}{{ tool | tojson + '\n' }}{% endfor %}{{ '<|im_end|>\n' }}
{%- endif %}
{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\n' }}
{%- if message['role'] == 'assistant' %}
{% generation %}{{ message['content'] }}{% for call in message['tool_calls'] or [] %}{{ call | tojson }}{% endfor %}
{{ '<|im_end|>' }}{% endgeneration %}
{{ '\n' }}
{%- else %}
{{ message['content'] + '<|im_end|>\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
"""ChatML with tools, and with the answers marked as TRL wants them for its masks."""

ALL = ["system", "user", "assistant", "tool", "template"]
TALK = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "So?"},
        {"role": "assistant", "content": "No."},
    ]
}
PAIR = {
    "prompt": [{"role": "user", "content": "Hi?"}],
    "completion": [{"role": "assistant", "content": "Yes."}],
}
CALL = {"type": "function", "function": {"name": "find", "arguments": {"who": "Mira"}}}
SCHEMA = {"type": "object", "properties": {"who": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": SCHEMA}}
CALLING = {
    "messages": [
        *TALK["messages"][:2],
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": '{"at": "mill"}'},
        *TALK["messages"][2:],
    ],
    "tools": [TOOL],
}
LED = {"prompt": TALK["messages"][:4], "completion": TALK["messages"][4:]}
WORDS = {"prompt": "Hi? ", "completion": "Yes, and zzzzzzzz."}
OWN = {"format": "completion", "prompt": {"format": "{instruction}"}}
CASES: list[dict[str, Any]] = [
    {"says": "tools, every token", "settings": {}, "row": CALLING, "data": {"train_on": ALL}},
    {
        "says": "tools: calls and answers alone, not the results",
        "settings": {"assistant_only_loss": True},
        "row": CALLING,
        "data": {},
    },
    {"says": "completions of a conversation of several turns", "settings": {}, "row": LED, "data": {}},
    {
        "says": "prompt and completion are both learned",
        "settings": {"completion_only_loss": False},
        "row": LED,
        "data": {"train_on": ALL},
    },
    {
        "says": "a prompt and its completion as text, both learned",
        "settings": {"completion_only_loss": False},
        "row": WORDS,
        "data": {**OWN, "train_on": ALL},
    },
    {
        "says": "max_length cuts the end off a conversation",
        "settings": {"assistant_only_loss": True, "max_length": 40},
        "row": TALK,
        "data": {"max_length": 40, "overlong": "truncate"},
    },
    {
        "says": "keep_end cuts the beginning off a conversation",
        "settings": {"assistant_only_loss": True, "max_length": 40, "truncation_mode": "keep_end"},
        "row": TALK,
        "data": {"max_length": 40, "overlong": "truncate_left"},
    },
    {
        "says": "max_length cuts the end off a completion",
        "settings": {"max_length": 14},
        "row": WORDS,
        "data": {**OWN, "max_length": 14, "overlong": "truncate"},
    },
    {
        "says": "max_length cuts the end off a conversation with tools",
        "settings": {"assistant_only_loss": True, "max_length": 230},
        "row": CALLING,
        "data": {"max_length": 230, "overlong": "truncate"},
    },
    {"says": "every token", "settings": {}, "row": TALK, "data": {"train_on": ALL}},
    {"says": "answers alone", "settings": {"assistant_only_loss": True}, "row": TALK, "data": {}},
    {"says": "completions, whose last line break is learned there", "settings": {}, "row": PAIR, "data": {}},
    {"says": "plain text", "settings": {}, "row": {"text": "Once there was."}, "kind": "pretrain", "data": {}},
    {
        "says": "a prompt and its completion as text",
        "settings": {},
        "row": {"prompt": "Hi? ", "completion": "Yes."},
        "data": {"format": "completion", "prompt": {"format": "{instruction}"}},
    },
]


def ours(case: dict[str, Any], encoder: Encoder, folder: Path) -> tuple[list[int], list[int]]:
    rows = write_jsonl(folder / "rows.jsonl", [case["row"]])
    template = folder / "template.jinja"
    template.write_text(case.get("ours", CHATML), encoding="utf-8")
    given = dict(case["data"])
    source = {"path": str(rows), **{name: given.pop(name) for name in ("format", "prompt") if name in given}}
    tree = {"model": {"path": "m"}, "data": {"train": [source], "template": str(template), **given}}
    recipe = build(tree | {"method": {"kind": case.get("kind", "sft")}}, lambda path: ".".join(map(str, path)))
    (example,) = attempts_of(recipe.data.train[0])
    assert isinstance(example, Example), example
    tokens = Maker(recipe, encoder).examples([example])[0].documents()[0]
    (tokens,) = fit(tokens, recipe.data.max_length, recipe.data.overlong)[1]
    labels = [int(one) if learned else -100 for one, learned in zip(tokens.ids, tokens.trained, strict=True)]
    return tokens.ids.tolist(), labels


def test_ids_and_labels_are_trls(tmp_path: Path) -> None:
    special = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
    tokenizer = make_tokenizer(tmp_path / "tokenizer", special=special, eos_token="<|im_end|>")
    encoder = Encoder.open(tokenizer)
    cases = [{**case, "template": CHATML} for case in CASES]
    theirs = asked("peer_trl.py", "LUTHIER_ORACLE_TRL", tokenizer, cases)
    differing = []
    for case, their in zip(CASES, theirs, strict=True):
        ids, labels = ours(case, encoder, tmp_path)
        if case["says"].startswith("completions"):
            # The line break behind the end token is learned by none who generates up to that token.
            assert their["labels"][-1] == their["ids"][-1] != encoder.id_of("eos_token")
            their["labels"][-1] = -100
        if (ids, labels[1:]) != (their["ids"], their["labels"][1:]):
            differing.append(json.dumps([case["says"], ids, their["ids"], labels, their["labels"]]))
    assert not differing, "\n".join(differing)


PUBLISHED = {
    "llama3_training": ("llama3", TALK),
    "qwen2_5_training": ("qwen_25", CALLING),
    "gemma_training": ("gemma", {"messages": TALK["messages"][1:]}),
    "cohere_training": ("cohere", TALK),
    "phi3_training": ("phi3", TALK),
}
"""TRL's copies of published templates, with the answers marked, and ours of the same family."""


def test_published_templates_learn_the_same_but_for_line_breaks_around_answers(tmp_path: Path) -> None:
    bare = Encoder.open(make_tokenizer(tmp_path / "bare", special=("</s>",)))
    named = [token for name, _ in PUBLISHED.values() for token in missing_tokens(name, bare) if token[:1] in "<["]
    special = ("<s>", "</s>", *dict.fromkeys(named))
    tokenizer = make_tokenizer(tmp_path / "tokenizer", special=special, bos_token="<s>")
    encoder = Encoder.open(tokenizer)
    cases = [
        {"template_file": name, "settings": {"assistant_only_loss": True}, "row": row, "data": {}}
        | {"ours": template_source(ours_of, encoder)}
        for name, (ours_of, row) in PUBLISHED.items()
    ]
    theirs = asked("peer_trl.py", "LUTHIER_ORACLE_TRL", tokenizer, cases)
    for case, their in zip(cases, theirs, strict=True):
        ids, labels = ours(case, encoder, tmp_path)
        end = ["</s>"] if case["template_file"] == "phi3_training" else []
        assert [*ids, *encoder.tokenizer.encode("".join(end)).ids] == their["ids"], case["template_file"]
        differing = [one for one, ours_, theirs_ in zip(ids, labels, their["labels"], strict=False) if ours_ != theirs_]
        texts = {encoder.decode([one], skip_control=False) for one in differing}
        assert all(text.isspace() for text in texts) and -100 in labels, (case["template_file"], texts)
