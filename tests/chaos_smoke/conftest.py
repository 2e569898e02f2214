"""A smoke of the chaos tests for `make test`: `make chaos` runs the rest."""

from tests.chaos.fixtures import blueprint, own_database, server, set_stage, shop

__all__ = ["blueprint", "own_database", "server", "set_stage", "shop"]
