"""Drivers for both kinds of accounts, and every backend under each."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from runtime.sandbox import canary, warden
from runtime.sandbox.bwrap import Bwrap
from runtime.sandbox.launch import BackendMissing
from tests.runtime.sandbox.confinement import Confinement, Driver
from tests.runtime.sandbox.driver import PATIENCE_S


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that comes up late, on a machine that stands still, is not broken; driver.py has the same patience."""
    monkeypatch.setattr(warden, "START_S", PATIENCE_S)
    monkeypatch.setattr(canary, "LIMITS", replace(canary.LIMITS, wall_s=PATIENCE_S))


@pytest.fixture(scope="session")
def ordinary_driver() -> Iterator[Driver]:
    driver = Driver(ordinary=True)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def root_driver() -> Iterator[Driver]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    driver = Driver(ordinary=False)
    yield driver
    driver.close()


@pytest.fixture(params=["bwrap", "bwrap-noproc", "landlock"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name != "landlock":
        try:
            Bwrap().check()
        except BackendMissing as missing:
            pytest.skip(str(missing))
    return name


@pytest.fixture(params=["root", "ordinary"])
def confinement(request: pytest.FixtureRequest, backend: str) -> Confinement:
    driver: Driver = request.getfixturevalue(f"{request.param}_driver")
    return Confinement(driver, backend, request.param == "ordinary")
