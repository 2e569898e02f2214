"""Makes the roles and brings both schemas up to date: the one-shot service `migrate` of docker-compose.yml.

It may run as often as it likes. It waits for PostgreSQL by itself and not by `depends_on`: podman 4 starts nothing
after a finished job that depends on something.
"""

# ruff: noqa: INP001  # a script that is copied into an image

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import asyncpg

PATIENCE_S = 120
CONNECT_S = 5
COMMAND_S = 60
MIGRATION_S = 900
SECRETS = Path("/secrets/postgres")
ROLES = Path(__file__).with_name("roles.sql")


def main() -> int:
    """Exit status 1: PostgreSQL did not answer, or a migration failed."""
    try:
        asyncio.run(apply_roles())
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        sys.stderr.write(f"PostgreSQL can't be prepared: {problem}\n")
        return 1
    for tier in ("experience", "runtime"):
        done = subprocess.run([sys.executable, "-m", tier, "migrate"], timeout=MIGRATION_S, check=False)  # noqa: S603
        if done.returncode:
            sys.stderr.write(f"the migration of {tier} failed\n")
            return 1
    sys.stdout.write("the database is ready\n")
    return 0


async def apply_roles() -> None:
    """Make roles and schemas, and set the roles' passwords."""
    connection = await connect_in_time()
    try:
        async with connection.transaction():
            await connection.execute(ROLES.read_text())
            await connection.execute((SECRETS / "passwords.sql").read_text())
    finally:
        await connection.close(timeout=CONNECT_S)


async def connect_in_time() -> asyncpg.Connection:
    """A connection as superuser; the last error, when there was none before patience ended."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await asyncpg.connect(
                host="postgres",
                user="postgres",
                password=(SECRETS / "superuser").read_text(),
                database="stagedoor",
                timeout=CONNECT_S,
                command_timeout=COMMAND_S,
            )
        except (OSError, TimeoutError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
