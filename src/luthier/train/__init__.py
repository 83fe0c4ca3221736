"""Carrying a plan out: the loop, its engine, its checkpoints, its events."""
