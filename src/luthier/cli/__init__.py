"""The command line: one file a command; no knobs of its own beyond paths and ``section.field=value`` words."""
