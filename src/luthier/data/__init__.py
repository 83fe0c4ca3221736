"""Rows to batches, each step a pure function: source, format, template, tokens, pack, batch; see pipeline."""
