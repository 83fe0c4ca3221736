"""One file a family of optimisers: ``build(groups, settings)`` makes one from the library that owns it."""
