"""The chaos tests: `make chaos`. Each of them starts a stack of its own, so they take minutes together."""

import random
from pathlib import Path

import pytest

from tests.chaos.fixtures import blueprint, own_database, server, set_stage, shop

__all__ = ["blueprint", "own_database", "server", "set_stage", "shop"]

TEST_S = 900
HISTORIES = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a failure is replayed with."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-seed", type=int, default=None, help="Draw the same histories and pauses again.")
    group.addoption("--chaos-histories", type=int, default=HISTORIES, help="Random histories to draw.")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of this session."""
    if config.getoption("--chaos-seed", default=None) is None:
        config.option.chaos_seed = random.SystemRandom().randrange(1_000_000)


def pytest_report_header(config: pytest.Config) -> str:
    """Say what to replay with."""
    return f"chaos: the same draws again with --chaos-seed={config.option.chaos_seed}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say it again where a failure is read."""
    terminalreporter.write_line(pytest_report_header(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts and breaks whole stacks may take longer than other tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_S))


@pytest.fixture
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """Of this session."""
    seed: int = request.config.option.chaos_seed
    return seed


@pytest.fixture
def chaos_histories(request: pytest.FixtureRequest) -> int:
    """How many to draw."""
    histories: int = request.config.getoption("--chaos-histories", default=HISTORIES)
    return histories


@pytest.fixture(autouse=True)
def _same_chance(request: pytest.FixtureRequest, chaos_seed: int) -> None:
    """Each test draws from its own name and the session's seed."""
    random.seed(f"{request.node.name}/{chaos_seed}")
