"""Objectives: pure functions from a model and a batch to a loss."""
