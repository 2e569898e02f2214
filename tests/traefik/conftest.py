"""Two real backends behind one real Traefik."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.echo import Echo, run_echo
from tests.support.traefik import Traefik, run_traefik
from traefik.routes import Tier


@pytest.fixture(scope="session")
def backends() -> Iterator[dict[Tier, Echo]]:
    """An echo server for each tier."""
    with run_echo(Tier.EXPERIENCE) as experience, run_echo(Tier.RUNTIME) as runtime:
        yield {Tier.EXPERIENCE: experience, Tier.RUNTIME: runtime}


@pytest.fixture(scope="session")
def traefik(tmp_path_factory: pytest.TempPathFactory, backends: dict[Tier, Echo]) -> Iterator[Traefik]:
    """The default profile in front of both tiers."""
    folder: Path = tmp_path_factory.mktemp("traefik")
    with run_traefik(folder, {tier: (echo.url,) for tier, echo in backends.items()}) as running:
        yield running
