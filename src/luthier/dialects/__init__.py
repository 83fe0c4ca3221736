"""How others write a run: each dialect reads a file into a recipe and keeps an account of every key."""

from luthier.dialects.read import read, read_text
from luthier.dialects.reading import Account, Outcome, Reading

__all__ = ["Account", "Outcome", "Reading", "read", "read_text"]
