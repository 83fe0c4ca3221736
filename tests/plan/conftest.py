"""What the tests of the plan share: recipes made from trees, a real tokenizer's directory, rows of known length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from luthier.recipe import Recipe
from luthier.recipe.validate import build
from tests.conftest import World

Make = Callable[..., Recipe]


@pytest.fixture
def make(world: World) -> Make:
    """A recipe on the small world, with sections laid over it."""

    def recipe(**sections: Any) -> Recipe:
        return build(world.recipe(**sections), lambda path: ".".join(map(str, path)))

    return recipe
