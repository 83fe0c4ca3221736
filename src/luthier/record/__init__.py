"""The run folder: where things lie in it, and the record of what happened. Written by train, read by report."""
