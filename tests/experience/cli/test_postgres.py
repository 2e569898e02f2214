"""The wheel's server, its roles, and the places it may have to move to."""

import asyncpg
import pytest

from experience.cli.postgres import find_roles_sql
from tests.support.postgres import Database

TIERS = ("experience", "runtime")


@pytest.mark.parametrize("tier", TIERS)
async def test_owner_makes_tables_that_app_and_system_may_fill(database: Database, tier: str) -> None:
    owner = await asyncpg.connect(database.dsn(f"{tier}_owner"), timeout=10)
    await owner.execute("CREATE TABLE probe (id int PRIMARY KEY)")
    try:
        for number, part in enumerate(("app", "system")):
            connection = await asyncpg.connect(database.dsn(f"{tier}_{part}"), timeout=10)
            await connection.execute("INSERT INTO probe VALUES ($1)", number)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"CREATE TABLE {tier}.mine (id int)")
            await connection.close()
    finally:
        await owner.execute("DROP TABLE probe")
        await owner.close()


@pytest.mark.parametrize("part", ["owner", "app", "system"])
async def test_a_tier_sees_nothing_of_the_other(database: Database, part: str) -> None:
    connection = await asyncpg.connect(database.dsn(f"runtime_{part}"), timeout=10)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE experience.mine (id int)")
    await connection.close()


async def test_no_role_escapes_row_level_security(database: Database) -> None:
    connection = await asyncpg.connect(database.superuser_dsn, timeout=10)
    strong = await connection.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname ~ '^(experience|runtime)_' AND (rolsuper OR rolbypassrls)"
    )
    known = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname ~ '^(experience|runtime)_'")
    await connection.close()
    assert strong == []
    assert len(known) == len(TIERS) * 3


def test_roles_sql_may_run_again(database: Database) -> None:
    before = database.cluster.run_sql("SELECT nspname, nspacl FROM pg_namespace ORDER BY 1", database.name)
    database.cluster.run_sql(find_roles_sql().read_text(), database.name)
    assert database.cluster.run_sql("SELECT nspname, nspacl FROM pg_namespace ORDER BY 1", database.name) == before
