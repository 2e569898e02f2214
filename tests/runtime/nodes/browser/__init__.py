"""Tests of the nodes that hold a page."""
