"""The exception tree: every fault is carried and told."""

from __future__ import annotations

import pytest

from luthier import errors
from luthier.errors import DataError, Fault, LuthierError, RecipeError, TemplateError, nearest


def test_a_fault_tells_place_reason_and_remedy_in_that_order() -> None:
    assert str(Fault("is odd", "a.yaml:3", "make it even")) == "a.yaml:3: is odd\n  -> make it even"


def test_a_fault_without_place_or_remedy_is_its_reason() -> None:
    assert str(Fault("is odd")) == "is odd"


def test_an_error_made_of_text_places_that_text() -> None:
    error = RecipeError("is odd", place="a.yaml:3", remedy="make it even")
    assert error.faults == (Fault("is odd", "a.yaml:3", "make it even"),)


def test_an_error_tells_every_fault_it_carries() -> None:
    error = DataError(Fault("first", "x:1"), Fault("second", "x:2", "mend it"))
    assert str(error) == "x:1: first\nx:2: second\n  -> mend it"
    assert len(error.faults) == 2


@pytest.mark.parametrize(
    "name", ["RecipeError", "DataError", "TemplateError", "ModelError", "CheckpointError", "RunError", "MissingPackage"]
)
def test_every_error_of_the_tree_is_caught_as_ours_and_drawn_in_the_docstring(name: str) -> None:
    assert issubclass(getattr(errors, name), LuthierError)
    assert name in (errors.__doc__ or "")


def test_a_template_error_is_a_data_error() -> None:
    assert issubclass(TemplateError, DataError)


def test_the_nearest_name_is_suggested() -> None:
    assert nearest("optimiser", ["optimizer", "output", "pack"]) == "optimizer"


def test_a_name_like_nothing_gets_no_suggestion() -> None:
    assert nearest("zzz", ["optimizer", "output"]) is None
