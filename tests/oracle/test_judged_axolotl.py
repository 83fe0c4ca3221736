"""Judged rows through Axolotl's own strategies: the same prompt and answers as in the golden files.

``LUTHIER_ORACLE_AXOLOTL`` names a Python that has Axolotl.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data.made import make_tokenizer
from tests.data.test_golden import GOLDEN
from tests.oracle.peers import said

pytestmark = pytest.mark.oracle

CASES = [case for case in GOLDEN["axolotl"]["cases"] if "answers" in case and case["file"].get("rl") in ("dpo", "kto")]


def bare(pieces: list[str]) -> str:
    """A text without the tokenizer's own beginning and end, which TRL puts there."""
    return "".join(pieces).removeprefix("<s>").removesuffix("</s>")


def test_prompt_and_answers_are_axolotls(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer", bos_token="<s>")
    question = {"tokenizer": str(tokenizer), "cases": CASES}
    theirs = json.loads(said("peer_axolotl_judged.py", "LUTHIER_ORACLE_AXOLOTL", question))
    assert len(CASES) > 12
    for case, their in zip(CASES, theirs, strict=True):
        ours = [bare(case["prompt"]), *map(bare, case["answers"])]
        assert ours == [text.removeprefix("<s>") for text in their], case["says"]
