"""Families of node types. They never import each other; only runtime.app chooses among them."""
