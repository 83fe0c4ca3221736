"""The examples in docstrings say what the functions answer."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import luthier

ROOT = Path(luthier.__file__).parent
SHOWN = sorted(path for path in ROOT.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_examples_hold(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    found = doctest.testmod(importlib.import_module(name), report=False)
    assert found.attempted and not found.failed
