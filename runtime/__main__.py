"""`python -m runtime all | serve | work | migrate | …`: the internal tier as a process; USAGE has the rest."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Final

import uvicorn

from contracts.errors import ApiError
from contracts.wiring.logging import configure
from runtime.masking import scrub
from runtime.settings import Settings, SettingsError, load_settings

USAGE: Final = "usage: python -m runtime all | serve | work | migrate | reseal | browser | jail | sandbox"
_NEEDS: Final = {
    "all": ("database_url", "system_database_url", "internal_public_key_file"),
    "serve": ("database_url", "system_database_url", "internal_public_key_file"),
    "work": ("database_url", "system_database_url"),
    "migrate": ("migrate_database_url",),
    "reseal": ("system_database_url", "seal_key_file"),
    "browser": (),
    "jail": (),
    "sandbox": (),
}
"""Settings that a command can't do without."""


def main() -> int:
    """Read the environment, then do what was asked; a wrong setting ends with a message and code 2."""
    command = " ".join(sys.argv[1:])
    if command not in _NEEDS:
        return _refuse(USAGE)
    try:
        settings = load_settings(*_NEEDS[command])
    except SettingsError as error:
        return _refuse(f"The settings don't work:\n{error}")
    configure("runtime", settings.log_format, scrub=scrub)
    commands: dict[str, Callable[[Settings], int]] = {
        "browser": _show_browser,
        "jail": _show_jail,
        "sandbox": _show_sandbox,
        "reseal": _reseal,
        "migrate": _migrate,
    }
    run = commands.get(command)
    return run(settings) if run is not None else _run(settings, command)


def _show_browser(settings: Settings) -> int:
    """Say which Chromium would be started: for `stagedoor doctor` and for who prepares a machine."""
    from runtime.browser.driver import find_browser  # noqa: PLC0415 — a server loads it when it needs it
    from runtime.browser.failure import BrowserFailure  # noqa: PLC0415

    try:
        sys.stdout.write(f"{asyncio.run(find_browser(settings.browser_path))}\n")
    except BrowserFailure as failure:
        return _refuse(f"{failure.message}\n{failure.hint}")
    except TimeoutError:
        return _refuse("Playwright's driver did not start.\nCheck that the machine has memory and processes left.")
    return 0


def _show_jail(settings: Settings) -> int:
    """Say how browsers are shut in, by starting one, and what would be stronger."""
    from runtime.browser.failure import BrowserFailure  # noqa: PLC0415 — a server loads it when it needs it
    from runtime.browser.trial import try_confinement  # noqa: PLC0415

    logging.disable()
    try:
        found = asyncio.run(try_confinement(settings.browser_path))
    except BrowserFailure as failure:
        return _refuse(f"{failure.message}\n{failure.hint}")
    sys.stdout.write(f"{found.describe()}\n{found.hint}\n")
    return 0


def _show_sandbox(settings: Settings) -> int:
    """Say what would shut code in, and why nothing stronger: for `stagedoor doctor` and for who prepares a machine."""
    from runtime.sandbox.sandbox import Sandbox  # noqa: PLC0415 — a server loads it when it needs it

    logging.disable()
    sandbox = Sandbox(require=settings.sandbox_require, for_others=os.geteuid() == 0)
    found = asyncio.run(sandbox.choose())
    sandbox.close()
    if found.backend is None:
        return _refuse(f"{found.describe()}\n{found.hint}")
    sys.stdout.write(f"{found.describe()}\n{found.hint}\n")
    return 0


def _migrate(settings: Settings) -> int:
    from runtime.store.schema import migrate  # noqa: PLC0415 — Alembic is loaded by nobody else

    try:
        asyncio.run(migrate(settings.migrate_database_url))
    except ApiError as error:
        return _refuse(f"{error.detail} {error.hint}")
    return 0


def _reseal(settings: Settings) -> int:
    from runtime.app import reseal  # noqa: PLC0415 — nobody else needs it

    try:
        done = asyncio.run(reseal(settings))
    except (ApiError, OSError, ValueError) as error:
        return _refuse(f"Nothing more was sealed anew: {error}")
    sys.stdout.write(f"{done.message}\n")
    return 0 if done.whole else 1


def _run(settings: Settings, command: str) -> int:
    from runtime.app import run  # noqa: PLC0415 — a migration needs none of it
    from runtime.browser.sandboxing import SandboxMissing  # noqa: PLC0415

    loop = uvicorn.Config(app="", log_config=None).get_loop_factory()
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(run(settings, serves=command != "work", works=command != "serve"))
    except (OSError, ValueError, SandboxMissing) as error:
        return _refuse(f"Runtime can't start: {error}")
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
