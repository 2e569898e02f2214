"""The command line `stagedoor`: the local stack, and a client of the public API. It stands on contracts alone."""
