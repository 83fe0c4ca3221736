"""What a table of refusals is made of."""

from __future__ import annotations

Row = tuple[bool, str, str, str]
"""(whether the recipe asks for it, dotted key, reason, remedy)"""
