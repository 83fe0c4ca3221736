"""One file a format: how a row of a given shape becomes an Example. The table of names is in registry.py."""
