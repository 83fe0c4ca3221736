"""Chat templates as they were published, in TRL's copies, and ours of the same families: the same text.

``LUTHIER_ORACLE_TRL`` names a Python that has TRL.
"""

from __future__ import annotations

import os
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.template_names import template_source
from tests.data.made import make_tokenizer
from tests.oracle.test_templates_axolotl import BARE, LONG, SHORT, SILENT, SYSTEM, THINKING, TOOL, rendered

pytestmark = pytest.mark.oracle

FIND = "import importlib.util as u; print(u.find_spec('trl').submodule_search_locations[0])"
OURS = {
    "llama3": "llama3",
    "llama3_1": "llama3_1",
    "gemma": "gemma",
    "gemma3": "gemma",
    "phi3": "phi3",
    "qwen2_5": "qwen_25",
    "qwen3": "qwen3",
    "cohere": "cohere",
}
ONE_CALL = [*SILENT[:3], SILENT[-1]]
WITH_CALLS = {"llama3_1": [ONE_CALL], "qwen2_5": [ONE_CALL, SILENT], "qwen3": [ONE_CALL, SILENT]}
WITHOUT_SYSTEM = ("gemma",)
ENDED = ("phi3",)
"""Which write an end token behind the last turn, that ours leave out."""


@pytest.fixture(scope="module")
def theirs() -> Path:
    python = os.environ.get("LUTHIER_ORACLE_TRL")
    if not python:
        pytest.skip("LUTHIER_ORACLE_TRL names no Python")
    told = subprocess.run([python, "-c", FIND], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip()) / "chat_templates"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.open(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.mark.parametrize("name", OURS)
def test_the_text_is_the_published_one(theirs: Path, encoder: Encoder, name: str) -> None:
    published = (theirs / f"{name}.jinja").read_text(encoding="utf-8")
    ours = template_source(OURS[name], encoder)
    for talk, led, tools, generate in product(
        [SHORT, LONG, THINKING, *WITH_CALLS.get(name, [])], (False, True), (None, [TOOL, BARE]), (False, True)
    ):
        if led and name in WITHOUT_SYSTEM:
            continue
        turns: list[Any] = [*([SYSTEM] if led else []), *(talk[:-1] if generate else talk)]
        case: dict[str, Any] = {"talk": turns, "tools": tools, "generate": generate}
        text = rendered(published, **case)
        assert rendered(ours, **case) == (text.removesuffix("</s>") if name in ENDED and not generate else text)
