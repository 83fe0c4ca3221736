"""Luthier fine-tunes language models from the recipe its user already has."""

__version__ = "0.1.0"
