"""Small recipes, made from what the user writes."""

from __future__ import annotations

import json
from typing import Any

from luthier.recipe import Recipe

ROWS = [{"path": "rows.jsonl"}]
BASE: dict[str, Any] = {"model": {"path": "some/model"}, "data": {"train": ROWS}}
SCRATCH: dict[str, Any] = {"model": {"scratch": {}}, "data": {"train": ROWS}, "tokenizer": {"train": {}}}


def recipe(base: dict[str, Any], **sections: Any) -> Recipe:
    tree = {**base}
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return Recipe.model_validate_json(json.dumps(tree))


PLAIN = recipe(BASE)
LORA = recipe(BASE, adapter={"kind": "lora"})
IA3 = recipe(BASE, adapter={"kind": "ia3"})
PREFIX = recipe(BASE, adapter={"kind": "prefix"})
PROMPT = recipe(BASE, adapter={"kind": "prompt"})
ANSWERING = {**BASE, "data": {"train": ROWS, "evaluate": ROWS}, "evaluate": {"generate_during": True}}
ANSWERED = recipe(BASE, data={"test": ROWS}, evaluate={"generate": True})
