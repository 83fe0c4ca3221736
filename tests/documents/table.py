"""The README's table of the documents' files that ran, made from what their runs left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

READMES = tuple(Path(__file__).resolve().parents[2] / name for name in ("README.md", "README.zh.md"))


def row(file: str, run: Path, events: list[dict[str, Any]], *, shortened: bool) -> str:
    """A line of the table: file, dialect, what trained, steps, what was measured on rows that were not learned from."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    dialect = json.loads((run / "reading.json").read_text(encoding="utf-8"))["dialect"]
    measured = ["loss"] if any(one["event"] == "evaluated" for one in events) else []
    measured += sorted({name for one in events if one["event"] == "answered" for name in one["metrics"]})
    steps = f"{events[-1]['step']:,}" + (" (shortened)" if shortened else "")
    told = (f"`{file}`", dialect, _trained(recipe), steps, ", ".join(measured) or "–")
    return f"| {' | '.join(told)} |"


def _trained(recipe: dict[str, Any]) -> str:
    adapter, bits = recipe["adapter"], recipe["quantise"]["bits"]
    kind = {"none": "all weights", "lora": f"LoRA, rank {adapter['rank']}"}.get(adapter["kind"], adapter["kind"])
    return f"{kind}, {bits}-bit base" if bits in (4, 8) else str(kind)
