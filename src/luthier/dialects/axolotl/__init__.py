"""How Axolotl writes a recipe: its keys by theme, one table in all."""

from luthier.dialects.axolotl.dialect import AXOLOTL

__all__ = ["AXOLOTL"]
