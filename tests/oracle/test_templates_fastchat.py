"""FastChat's conversations and ours of the same names: the same text, but for the ends that Axolotl put behind answers.

``LUTHIER_ORACLE_FASTCHAT`` names a Python that has FastChat.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.dialects.axolotl.conversations import OWN, SAME_TEXT, WITH_SYSTEM, conversation_named
from tests.data.made import make_tokenizer, text_of_spans
from tests.oracle.peers import said

pytestmark = pytest.mark.oracle

SHORT = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]
LONG = [*SHORT, {"role": "user", "content": "So?"}, {"role": "assistant", "content": "No."}]
LED = [{"role": "system", "content": "Be brief."}, *LONG]
LED_ALONE = ("zephyr", "catppt", "TinyLlama")
"""Which write an empty system turn where there is none; ours leave it out."""
WITHOUT_SYSTEM = ("Yi-34b-chat", "baichuan-chat", "baichuan2-chat", "mistral")
"""Whose system message stands otherwise here; ``SAME_TEXT`` tells how."""


def bare(text: str) -> str:
    """A text without ends and beginnings of texts; white space at its end is what comes before an end token."""
    for token in ("<s>", "</s>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"):
        text = text.replace(token, "")
    return text.rstrip()


def test_the_texts_are_fastchats(tmp_path: Path) -> None:
    encoder = Encoder.open(make_tokenizer(tmp_path, bos_token="<s>", around="<s> $A"))
    cases: list[dict[str, Any]] = []
    for name in (*SAME_TEXT, *WITH_SYSTEM, *OWN):
        talks = [LED] if name in LED_ALONE else [SHORT, LONG] if name in WITHOUT_SYSTEM else [SHORT, LONG, LED]
        if name == "llama-3":
            continue  # Axolotl's own addition to FastChat's names
        if name == "deepseek-chat":
            talks.remove(LED)  # its system message is the beginning of the text
        for talk in talks:
            cases += [{"name": name, "talk": talk[: len(talk) - g], "generate": bool(g)} for g in (0, 1)]
    texts = json.loads(said("peer_fastchat.py", "LUTHIER_ORACLE_FASTCHAT", {"cases": cases}))
    differing = []
    for case, text in zip(cases, texts, strict=True):
        made = conversation_named(case["name"], {}).settings
        template = ChatTemplate(
            template_source(made["data.template"], encoder), encoder, system=made.get("data.system")
        )
        example = Example(tuple(Message(turn["role"], turn["content"]) for turn in case["talk"]), "t:1")
        ours = text_of_spans(template.prompt(example) if case["generate"] else template.spans(example))
        if bare(ours) != bare(text):
            differing.append((case["name"], case["generate"], ours, text))
    assert not differing, "\n".join(map(str, differing))
