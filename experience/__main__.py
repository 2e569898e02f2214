"""`python -m experience serve | migrate`: the public tier as a process."""

import asyncio
import sys

from pydantic import ValidationError

from contracts.wiring.logging import configure
from experience.settings import Settings, load_settings
from experience.store.migrate import migrate

USAGE = "usage: python -m experience serve | migrate"


def main() -> int:
    """Read the environment, then do what was asked; a wrong setting ends with a message and code 2."""
    command = sys.argv[1:]
    try:
        settings = load_settings()
    except (ValidationError, ValueError) as error:
        return _refuse(f"The settings don't work: {error}")
    configure("experience", settings.log_format)
    match command:
        case ["migrate"]:
            return _migrate(settings)
        case _:
            return _refuse(USAGE)


def _migrate(settings: Settings) -> int:
    if settings.migrate_database_url is None:
        return _refuse("migrate needs STAGEDOOR_EXPERIENCE_MIGRATE_DATABASE_URL (role experience_owner)")
    revision = asyncio.run(migrate(settings.migrate_database_url.get_secret_value()))
    sys.stdout.write(f"experience schema at {revision}\n")
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
