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
from luthier.recipe.validate import build
from tests.conftest import write_jsonl
from tests.data.made import make_tokenizer
from tests.oracle.peers import asked

pytestmark = pytest.mark.oracle

CHATML = """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\n' }}
{%- if message['role'] == 'assistant' %}
{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
{{ '\n' }}
{%- else %}
{{ message['content'] + '<|im_end|>\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
"""ChatML, with the answers marked as TRL wants them for its masks."""

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
CASES: list[dict[str, Any]] = [
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
    template.write_text(CHATML, encoding="utf-8")
    given = dict(case["data"])
    source = {"path": str(rows), **{name: given.pop(name) for name in ("format", "prompt") if name in given}}
    tree = {"model": {"path": "m"}, "data": {"train": [source], "template": str(template), **given}}
    recipe = build(tree | {"method": {"kind": case.get("kind", "sft")}}, lambda path: ".".join(map(str, path)))
    (example,) = attempts_of(recipe.data.train[0])
    assert isinstance(example, Example), example
    tokens = Maker(recipe, encoder).examples([example])[0].documents()[0]
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
