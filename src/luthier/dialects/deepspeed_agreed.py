"""Numbers of a DeepSpeed file that the recipe says as well: ``auto`` is the recipe's, and two must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects.companion import found
from luthier.dialects.table import Effect, Row, Spread, Values, applied, replaced


def auto(target: str) -> Effect:
    """``auto``: the number that the recipe says, which is ``target`` here."""
    return replaced({}, f"auto: {target}, as the recipe says it")


def agreed(name: str, target: str, convert: Callable[[Any], Any]) -> Row:
    """A number that the recipe says as well; where the two differ, reading refuses the second."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None or value == "auto":
            return auto(target)
        return applied({target: convert(value)})

    return Spread(name, (target,), spread)


def first(values: Values, *names: str) -> Any:
    """The first of these keys' values that is a number and not ``auto``."""
    says = (found(values, name) for name in names)
    return next((value for value in says if value is not None and value != "auto"), None)
