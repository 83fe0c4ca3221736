"""What evaluating adds to a run's peak of memory: ``python bench/evaluation_memory.py``.

The Llama of 62 million parameters of ``resume_memory.py`` trains for four steps on packs of 512 tokens, once without
evaluation and once with one after each second step over all rows, eight packs wanted at a time, and answers to 16
questions. Each run is the real command in a process of its own, whose largest resident memory the system counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from resume_memory import make, peaks, recipe

PACKED: dict[str, Any] = {"pack": {"kind": "best_fit", "length": 512}, "checkpoint": {"every": "never"}}


def changed(file: Path, **sections: dict[str, Any]) -> Path:
    """The recipe with sections laid over it."""
    tree = json.loads(file.read_text(encoding="utf-8"))
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    file.write_text(json.dumps(tree), encoding="utf-8")
    return file


def main() -> int:
    """Measure, tell, and say by the exit code whether evaluating took more."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make(root)
        rows = {"path": str(root / "rows.jsonl")}
        questions = root / "questions.jsonl"
        asked = ({"human": f"Where does number {one} live?", "assistant": "In a house."} for one in range(16))
        questions.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
        talk = {"train": [{"path": str(questions)}], "template": "chatml"}
        found = {}
        for name, data, method, more in (
            ("trained alone", {}, {}, {"evaluate": {"every": "never", "at_start": False}}),
            ("with losses", {"evaluate": [rows]}, {}, {"evaluate": {"every": 2}, "batch": {"evaluate": 8}}),
            ("trained alone on talks", talk, {"kind": "sft"}, {"evaluate": {"every": "never", "at_start": False}}),
            (
                "with losses and answers",
                {**talk, "evaluate": [{"path": str(questions)}], "test": [{"path": str(questions)}]},
                {"kind": "sft"},
                {"evaluate": {"every": 2, "generate": True}, "batch": {"evaluate": 8}},
            ),
        ):
            file = recipe(root, {}, root / name.replace(" ", "-"))
            (found[name],) = peaks(changed(file, **PACKED, data=data, method=method, **more), 1)
            print(f"{name}: {found[name]:,.0f} MB", flush=True)
    losses, answers = (
        found["with losses"] / found["trained alone"],
        found["with losses and answers"] / found["trained alone on talks"],
    )
    print(f"evaluating takes {losses:.3f} and {answers:.3f} times as much")
    return int(max(losses, answers) > 1.01)


if __name__ == "__main__":
    sys.exit(main())
