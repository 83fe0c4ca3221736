"""Axolotl's own chat templates and ours of the same names: the same text.

``LUTHIER_ORACLE_AXOLOTL`` names a Python that has Axolotl.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.jinja import compile_template
from luthier.data.template_names import template_source
from luthier.dialects.axolotl.templates import OURS, SAME
from tests.data.made import make_tokenizer

pytestmark = pytest.mark.oracle

Turn = dict[str, Any]

FIND = "import importlib.util as u; print(u.find_spec('axolotl').submodule_search_locations[0])"
CALL = {
    "id": "call00001", "type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": "x", "c": [{"d": 0.5}]}}
}  # fmt: skip
WORD = {"type": "string", "description": "w", "enum": ["u", "v"], "nullable": True}
PLACE = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "description": "p"}
SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "integer"},
        "b": WORD,
        "c": {"type": "array", "items": PLACE},
        "d": PLACE,
        "e": {"type": "object", "x": WORD},
        "f": {"type": "array", "description": "l", "items": WORD},
    },
    "required": ["a", "b"],
}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
BARE = {"type": "function", "function": {"name": "g", "description": "e", "parameters": {"type": "object"}}}
SYSTEM = {"role": "system", "content": " Be brief. "}
SHORT = [{"role": "user", "content": " Hi? "}, {"role": "assistant", "content": " Yes.\n"}]
LONG = [*SHORT, {"role": "user", "content": "So?"}, {"role": "assistant", "content": "No."}]
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."}
THINKING = [SHORT[0], THOUGHT, LONG[2], THOUGHT]
CALLING = [
    SHORT[0],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "3", "tool_call_id": "call00001"},
    {"role": "assistant", "content": "See", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "4", "tool_call_id": "call00001"},
    {"role": "tool", "content": "5", "tool_call_id": "call00001"},
    LONG[3],
]
SILENT = [*CALLING[:3], {**CALLING[3], "content": ""}, *CALLING[4:]]
TALKS = (SHORT, LONG, THINKING, CALLING, SILENT)
WITH_CALLS = ("qwen3", "qwen3_5", "qwen_25", "llama4", "jamba", "deepseek_v3")
WITH_SILENT_CALLS = ("gemma4", "gemma4_unified", "mistral_v2v3", "mistral_v3_tekken")
"""Which write no text beside a call, or write it elsewhere."""
WITHOUT_PROMPT = ("qwen3", "qwen3_5", "phi_3", "gemma4", "gemma4_unified")
"""Whose prompt of an answer is another there, or is none."""
WITHOUT_SYSTEM = ("gemma", "mistral_v2v3", "mistral_v3_tekken")
"""Which have no system message there, or none in a conversation that ends in an answer."""


@pytest.fixture(scope="module")
def theirs() -> Path:
    python = os.environ.get("LUTHIER_ORACLE_AXOLOTL")
    if not python:
        pytest.skip("LUTHIER_ORACLE_AXOLOTL names no Python")
    told = subprocess.run([python, "-c", FIND], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip()) / "utils" / "chat_templates" / "templates"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.open(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def rendered(source: str, talk: list[Turn], tools: list[Any] | None, *, generate: bool) -> str:
    variables = {"messages": talk, "tools": tools, "add_generation_prompt": generate}
    return compile_template(source)(**variables, bos_token="<s>", eos_token="</s>")


def spelt(talk: list[Turn]) -> list[Turn]:
    """The turns with their calls' arguments as text, as deepseek_v3 wants them there."""

    def of(call: dict[str, Any]) -> dict[str, Any]:
        return {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}

    return [
        {**turn, "tool_calls": [of(call) for call in turn["tool_calls"]]} if "tool_calls" in turn else turn
        for turn in talk
    ]


@pytest.mark.parametrize("name", SAME)
def test_the_text_is_axolotls(theirs: Path, encoder: Encoder, name: str) -> None:
    upstream = re.sub(r"\{% (end)?generation %\}", "", (theirs / f"{name}.jinja").read_text(encoding="utf-8"))
    ours = template_source(OURS.get(name, name), encoder)
    calling = [CALLING, SILENT] if name in WITH_CALLS else [SILENT] if name in WITH_SILENT_CALLS else []
    for talk, led, tools, generate in product(TALKS, (False, True), (None, [TOOL, BARE]), (False, True)):
        if (any("tool_calls" in turn for turn in talk) and talk not in calling) or (led and name in WITHOUT_SYSTEM):
            continue
        if generate and name in WITHOUT_PROMPT:
            continue
        system = {**SYSTEM, "content": "Be brief."} if name == "metharme" else SYSTEM
        turns = [*([system] if led else []), *(talk[:-1] if generate else talk)]
        case: dict[str, Any] = {"tools": tools, "generate": generate}
        asked = spelt(turns) if name == "deepseek_v3" else turns
        assert rendered(ours, turns, **case) == rendered(upstream, asked, **case)
