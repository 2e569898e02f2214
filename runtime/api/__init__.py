"""Handlers of RuntimeApi, a module per noun."""
