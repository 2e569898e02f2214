"""The sandbox for code that nobody here has written: how it is shut in, watched and ended (spec T3)."""
