"""One file an engine: how a model is wrapped, stepped and saved on one device or many."""
