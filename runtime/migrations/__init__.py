"""Schema changes, forward only: old code runs on the new schema for one release."""
