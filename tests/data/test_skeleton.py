"""Filled in or rendered: the spans are the same, and where they might not be, the template is rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template_names import template_names
from tests.data.made import make_tokenizer, talk, template_of

TURNS = [("user", "assistant"), ("system", "user", "assistant"), ("user", "assistant", "user", "assistant")]
TEXTS = [" Where?\n", 'It\'s "here" & <there>.', "ÉCLAIR\\n", "{{ x }} %s", "0", "user", "assistant\n"]

WATCHED_TOO_LITTLE = ("deepseek_r1", "deepseek_v3", "gemma4", "llama2", "llama4", "qwen3")
"""They join texts first and look at them then, or look for a thought in them, or have macros."""


def rendered_too(name: str, encoder: Encoder, example: Example) -> tuple[Any, Any]:
    """The spans as the skeleton makes them (None where it does not), and as rendering does."""
    template = template_of(name, encoder)
    trained = [message.role == "assistant" for message in example.messages]
    quick = template._skeletons_of(()).spans(example, trained, generate=False)
    return quick, template._cut(example, trained, generate=False)


@pytest.mark.parametrize("name", [name for name in template_names() if "/" not in name])
def test_our_templates_are_filled_in_as_they_are_rendered(name: str, tmp_path: Path) -> None:
    encoder = Encoder.open(make_tokenizer(tmp_path, bos_token="<s>"))
    template, filled = template_of(name, encoder), 0
    if template._turns is not None:
        return
    for roles in TURNS:
        for shift in range(len(TEXTS)):
            example = talk(*((role, TEXTS[(shift + n) % len(TEXTS)]) for n, role in enumerate(roles)))
            quick, slow = rendered_too(name, encoder, example)
            assert quick is None or quick == slow
            filled += quick is not None
    assert filled == (0 if name in WATCHED_TOO_LITTLE else len(TURNS) * len(TEXTS))


LOOP = "{% for m in messages %}<|im_start|>{{ m.role }}\n%s<|im_end|>\n{% endfor %}"


@pytest.mark.parametrize(
    "content",
    [
        "{{ m.content | upper }}",
        "{{ m.content | tojson }}",
        "{{ m.content | e }}",
        "{{ m.content[:5] }}",
        "{{ 'yes' if 'w' in m.content else m.content }}",
        "{{ m.content if m.content == 'a' else m.content ~ '.' }}",
        "{{ m.content.replace('a', 'b') }}",
        "{% if m.content | length > 8 %}long{% endif %}{{ m.content }}",
        "{{ (m.content ~ ' ') | trim }}",
        "{% set c = m.content ~ '' %}{{ c }}{% if 'w' in c %}!{% endif %}",
        "{% macro say(x) %}{{ x }}{% endmacro %}{% set c = say(m.content) %}{{ c }}{% if 'w' in c %}!{% endif %}",
        "{% set c %}{{ m.content }}{% endset %}{% if 'w' in c %}!{% endif %}{{ c }}",
        "{% if '%s' % m.content == 'a' %}!{% endif %}{{ m.content }}",
        "{{ m.content.split('w') | join('w') }}",
        "{{ m.content.strip('?') }}",
        "{{ (m.content + 'x').strip() }}",
    ],
)
def test_a_template_that_looks_at_contents_is_rendered(content: str, encoder: Encoder) -> None:
    example = talk(("user", "Where now?"), ("assistant", "where I was"))
    quick, _ = rendered_too(LOOP.replace("%s", content, 1), encoder, example)
    assert quick is None


@pytest.mark.parametrize(
    "content",
    [
        "{{ m.content }}",
        "{{ m['content'] | trim }}",
        "{{ m.content.strip() }}",
        "{{ '\n' + m.content + eos_token }}",
        "{{ '\n' ~ m.content ~ eos_token }}",
        "{% if m.content %}{{ m.content }}{% endif %}",
        "{% if m.content is string %}{{ m.content }}{% endif %}",
        "{% set c = m.content %}{% if m.role == 'user' %}{{ c }}{% else %}{{ c | trim }}{% endif %}",
        "{% set c = '[' + m.content + ']' %}{{ c }}",
    ],
)
def test_a_template_that_only_prints_contents_is_filled_in(content: str, encoder: Encoder) -> None:
    for texts in (("Where now?", "where I was"), (" a ", "\nb\n"), ('"', "'\\")):
        quick, slow = rendered_too(
            LOOP.replace("%s", content, 1), encoder, talk(("user", texts[0]), ("assistant", texts[1]))
        )
        assert quick is not None and quick == slow


@pytest.mark.parametrize(
    "message",
    [
        Message("user", ""),
        Message("user", " \n"),
        Message("user", "say <|im_end|>"),
        Message("user", "x", fields={"name": "Mira"}),
    ],
)
def test_an_odd_conversation_is_rendered(message: Message, encoder: Encoder) -> None:
    example = Example((message, Message("assistant", "Here.")), "d:1")
    assert rendered_too("chatml", encoder, example)[0] is None


def test_a_call_of_a_tool_is_rendered(encoder: Encoder) -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    example = Example((Message("user", "x"), Message("assistant", "y", tool_calls=(call,))), "d:1")
    assert rendered_too("qwen", encoder, example)[0] is None
