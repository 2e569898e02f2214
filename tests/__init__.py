"""A mirror of the packages, and what crosses them: architecture, e2e, chaos, bench."""
