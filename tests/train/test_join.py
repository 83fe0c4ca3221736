"""Where processes meet, and what is said when nobody comes."""

from __future__ import annotations

import os

from luthier.environment import World as Place
from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.recipe.parallel import Parallel
from luthier.train.join import join
from luthier.train.ranks import Ranks
from tests.train.engines.children import at_once


def _meets_nobody(place: Place) -> None:
    try:
        join(Recipe(parallel=Parallel(timeout=1)), Place(1, 2, 1, place.address, place.port))
    except RunError as error:
        said = str(error)
        os._exit(7 if "rank 1 of 2 does not find the others at 127.0.0.1:" in said else 1)
    os._exit(0)


def test_a_process_that_meets_nobody_says_where_it_looked() -> None:
    assert at_once(1, _meets_nobody) == [7]


def _alone(place: Place) -> None:
    ranks = join(Recipe(), place, alone=False)
    own = ranks.sums([2.0]) == [2.0] and ranks.control is not None
    ranks.part()
    os._exit(7 if own else 1)


def test_one_process_meets_itself_only_where_it_is_asked_to() -> None:
    assert join(Recipe(), Place()) == Ranks()
    assert at_once(1, _alone) == [7]
