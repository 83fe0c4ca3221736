"""Writes a recipe in any of the dialects, with a list of what it cannot say there."""

from luthier.convert.convert import DIALECTS, convert
from luthier.convert.written import Missing, Written

__all__ = ["DIALECTS", "Missing", "Written", "convert"]
