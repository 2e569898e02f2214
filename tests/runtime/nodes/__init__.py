"""Tests of the node families."""
