"""Measuring a model: its loss on rows, its answers to them."""
