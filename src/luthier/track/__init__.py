"""Others who are told of a run: each from the one stream of events, none of them able to stop it."""
