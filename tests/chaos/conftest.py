"""The chaos tests: `make chaos`. Each of them starts a stack of its own, so they take minutes together."""

from pathlib import Path

import pytest

from tests.chaos.fixtures import blueprint, own_database, server, set_stage, shop

__all__ = ["blueprint", "own_database", "server", "set_stage", "shop"]

TEST_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts and breaks whole stacks may take longer than other tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_S))
