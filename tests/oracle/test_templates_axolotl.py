"""Axolotl's own chat templates and ours of the same names: the same text.

``LUTHIER_ORACLE_AXOLOTL`` names a Python that has Axolotl.
"""

from __future__ import annotations

import os
import re
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import luthier.data
from luthier.data.jinja import compile_template
from luthier.dialects.axolotl.templates import OURS, SAME

pytestmark = pytest.mark.oracle

Turn = dict[str, Any]

FIND = "import importlib.util as u; print(u.find_spec('axolotl').submodule_search_locations[0])"
CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": "x"}}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"a": {"type": "integer"}}}}
SYSTEM = {"role": "system", "content": " Be brief. "}
SHORT = [{"role": "user", "content": " Hi? "}, {"role": "assistant", "content": " Yes.\n"}]
LONG = [*SHORT, {"role": "user", "content": "So?"}, {"role": "assistant", "content": "No."}]
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."}
THINKING = [SHORT[0], THOUGHT, LONG[2], THOUGHT]
CALLING = [
    SHORT[0],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "3"},
    {"role": "assistant", "content": "See", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "4"},
    {"role": "tool", "content": "5"},
    LONG[3],
]
TALKS = (SHORT, LONG, THINKING, CALLING)
WITH_CALLS = ("qwen3", "qwen3_5", "qwen_25", "llama4")
WITHOUT_PROMPT = ("qwen3", "qwen3_5", "phi_3")
"""Whose prompt of an answer is another there, or is none."""


@pytest.fixture(scope="module")
def theirs() -> Path:
    python = os.environ.get("LUTHIER_ORACLE_AXOLOTL")
    if not python:
        pytest.skip("LUTHIER_ORACLE_AXOLOTL names no Python")
    told = subprocess.run([python, "-c", FIND], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip()) / "utils" / "chat_templates" / "templates"


def rendered(source: str, talk: list[Turn], tools: list[Any] | None, *, generate: bool) -> str:
    variables = {"messages": talk, "tools": tools, "add_generation_prompt": generate}
    return compile_template(source)(**variables, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("name", SAME)
def test_the_text_is_axolotls(theirs: Path, name: str) -> None:
    upstream = re.sub(r"\{% (end)?generation %\}", "", (theirs / f"{name}.jinja").read_text(encoding="utf-8"))
    ours = (Path(luthier.data.__file__).parent / "templates" / f"{OURS.get(name, name)}.jinja").read_text("utf-8")
    for talk, led, tools, generate in product(TALKS, (False, True), (None, [TOOL]), (False, True)):
        if (talk is CALLING and name not in WITH_CALLS) or (led and name == "gemma"):
            continue
        if generate and name in WITHOUT_PROMPT:
            continue
        turns = [*([SYSTEM] if led else []), *(talk[:-1] if generate else talk)]
        case: dict[str, Any] = {"talk": turns, "tools": tools, "generate": generate}
        assert rendered(ours, **case) == rendered(upstream, **case)
