"""`python -m experience serve | migrate`: the public tier as a process."""

import asyncio
import math
import signal
import sys

import structlog
import uvicorn
from pydantic import SecretStr, ValidationError
from starlette.types import ASGIApp

from contracts.errors import ApiError
from contracts.wiring.collector import spare_collector
from contracts.wiring.logging import configure
from contracts.wiring.uvicorn_socket import uvicorn_settings
from experience.settings import Settings, load_settings
from experience.store.revision import newest_revision, read_revision

USAGE = "usage: python -m experience serve | migrate"
KEEP_ALIVE_S = 95
"""Above the 90 s after which Traefik lets go of an idle connection: shorter, and some POSTs meet a closed one (502)."""

log = structlog.get_logger()


def main() -> int:
    """Read the environment, then do what was asked; a wrong setting ends with a message and code 2."""
    command = sys.argv[1:]
    if command not in (["serve"], ["migrate"]):
        return _refuse(USAGE)
    try:
        settings = load_settings()
    except ValidationError as error:
        return _refuse("The settings don't work:\n" + "\n".join(_explain(error)))
    except ValueError as error:
        return _refuse(f"The settings don't work: {error}")
    configure("experience", settings.log_format)
    return _migrate(settings) if command == ["migrate"] else _serve(settings)


def _migrate(settings: Settings) -> int:
    if settings.migrate_database_url is None:
        return _refuse("migrate needs STAGEDOOR_EXPERIENCE_MIGRATE_DATABASE_URL (role experience_owner)")
    try:
        revision = asyncio.run(_bring_up(settings.migrate_database_url))
    except ApiError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 1
    sys.stdout.write(f"experience schema at {revision}\n")
    return 0


async def _bring_up(url: SecretStr) -> str:
    dsn = url.get_secret_value()
    if await read_revision(dsn) == newest_revision():
        return newest_revision()
    from experience.store.migrate import migrate  # noqa: PLC0415  # Alembic: a second to load, and rarely needed

    return await migrate(dsn)


def _serve(settings: Settings) -> int:
    if settings.is_exposed:
        log.warning("plain http beyond this machine: logins can be read on the way", public_url=settings.public_url)
    from experience.app import create_app, lay_ground  # noqa: PLC0415  # `migrate` must not wait for all of it

    try:
        app = create_app(lay_ground(settings))
    except (OSError, ValueError) as error:
        return _refuse(f"Experience can't start: {error}")
    # uvicorn drains first and then raises the signal again: an end that was asked for is no failure
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    spare_collector()
    server = uvicorn.Server(configure_server(settings, app))
    server.run()
    return 0 if server.started else 1


def configure_server(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
        **uvicorn_settings(),
    )


def _explain(error: ValidationError) -> list[str]:
    # without the values: some of them are secrets
    return [f"  {'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}" for one in error.errors()]


def _refuse(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
