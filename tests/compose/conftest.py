"""Containers for the tests that ask for them; only `make compose-test` does."""

import os
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from uuid import uuid4

import httpx
import pytest

from experience.cli.ports import find_free_port
from tests.compose.containers import PASSWORD, Containers

COMPOSE_VARIABLE = "STAGEDOOR_TEST_COMPOSE"
ENGINE_VARIABLE = "STAGEDOOR_TEST_ENGINE"

RUNNING = ["test_running.py", "test_losses.py", "test_walls.py", "test_with_profiles.py"]
collect_ignore = [] if COMPOSE_VARIABLE in os.environ else RUNNING


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    """The whole stack with the demo shop, removed with its volumes at the end."""
    compose = shlex.split(os.environ[COMPOSE_VARIABLE])
    stack = Containers(compose, os.environ.get(ENGINE_VARIABLE, "docker"), find_free_port())
    try:
        stack.up("--build")
        yield stack
    finally:
        with suppress(AssertionError):
            stack.down("-v")


@pytest.fixture
async def person(containers: Containers) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has just registered, in a tenant of their own."""
    async with httpx.AsyncClient(base_url=containers.url, timeout=30) as http:
        answer = await http.post(
            "/api/auth/register", json={"email": f"{uuid4().hex[:12]}@stage.test", "password": PASSWORD}
        )
        assert answer.status_code == 201, answer.text
        http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http
