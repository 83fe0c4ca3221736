"""No evaluation takes more room than training has."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.evaluate.room import KEPT, answered_at_once, tokens_at_once
from luthier.recipe import Recipe
from luthier.recipe.validate import build


def recipe(**sections: Any) -> Recipe:
    tree = {"model": {"path": "m"}, "data": {"train": [{"path": "rows.jsonl"}], "max_length": 100}}
    return build({**tree, **sections}, str)


@pytest.mark.parametrize(
    ("batch", "largest", "tokens"),
    [
        ({"micro": 2}, None, 200),
        ({"micro": 2, "evaluate": 1}, None, 100),
        ({"micro": 2, "evaluate": 8}, None, 200),
        ({"micro": 2, "evaluate": 8}, 150, 150),
        ({"micro": 2, "evaluate": 1}, 150, 100),
    ],
)
def test_a_batch_is_what_is_asked_for_and_no_more_than_training_has(
    batch: dict[str, Any], largest: int | None, tokens: int
) -> None:
    assert tokens_at_once(recipe(batch=batch), largest) == tokens


def test_pairs_and_long_packs_have_room_of_their_own() -> None:
    assert tokens_at_once(recipe(method={"kind": "dpo"})) == 200
    assert tokens_at_once(recipe(pack={"kind": "best_fit", "length": 300})) == 300


def test_answers_have_the_room_of_what_the_backward_pass_keeps() -> None:
    saving = recipe(batch={"micro": 2}, runtime={"gradient_checkpointing": True})
    assert (answered_at_once(saving), answered_at_once(saving, 150)) == (200, 150)
    assert (answered_at_once(recipe()), answered_at_once(recipe(), 50)) == (KEPT * 100, KEPT * 50)
