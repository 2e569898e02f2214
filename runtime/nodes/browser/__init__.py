"""Nodes that hold a page."""
