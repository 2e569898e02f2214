"""B3's and B11's floor: what cannot be left out, written by hand on asyncpg."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from uuid import UUID, uuid4

import asyncpg
from uuid_utils.compat import uuid7

from tests.support.postgres import Database

PLACES = 8
"""Executions at once; a worker's default."""
PHASES = 3

_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS floor;
CREATE TABLE IF NOT EXISTS floor.executions (
    id uuid PRIMARY KEY, status text NOT NULL, epoch integer NOT NULL DEFAULT 0, head bigint NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS pending ON floor.executions (id) WHERE status = 'pending';
CREATE TABLE IF NOT EXISTS floor.steps (
    id uuid PRIMARY KEY, execution_id uuid NOT NULL, node text NOT NULL, status text NOT NULL, at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS floor.events (
    execution_id uuid NOT NULL, seq bigint NOT NULL, body text NOT NULL, PRIMARY KEY (execution_id, seq));
"""
_CLAIM = """
    UPDATE floor.executions SET status = 'running', epoch = epoch + 1, head = head + 1
    WHERE id = (SELECT id FROM floor.executions WHERE status = 'pending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, epoch, head
"""
_FINISH = "UPDATE floor.executions SET status = 'completed', head = $3 WHERE id = $1 AND epoch = $2"
_STEP = "INSERT INTO floor.steps (id, execution_id, node, status, at) VALUES ($1, $2, $3, 'success', now())"
_EVENT = "INSERT INTO floor.events (execution_id, seq, body) VALUES ($1, $2, $3)"
_APPEND = """
    WITH moved AS (UPDATE floor.executions SET head = head + 1 WHERE id = $1 RETURNING head),
    told AS (SELECT pg_notify('floor', $1::uuid::text))
    INSERT INTO floor.events (execution_id, seq, body) SELECT $1, head, $2 FROM moved, told
"""


class Floor:
    """A few tables and a pool of connections to them."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database) -> AsyncIterator[Self]:
        """In a database of ours, beside our own tables."""
        async with asyncpg.create_pool(database.superuser_dsn, min_size=PLACES, max_size=PLACES) as pool:
            await pool.execute(_SCHEMA)
            yield cls(pool)

    async def perform(self, count: int) -> float:
        """Executions a second."""
        rows = [(uuid7(), "pending") for _ in range(count)]
        await self._pool.executemany("INSERT INTO floor.executions (id, status) VALUES ($1, $2)", rows)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(PLACES):
                tasks.create_task(self._work())
        return count / (time.perf_counter() - began)

    async def append(self, count: int, body: str) -> float:
        """Events a second, each in a transaction of its own that takes its number and wakes readers."""
        execution_id = uuid4()
        async with self._pool.acquire() as connection:
            await connection.execute("INSERT INTO floor.executions (id, status) VALUES ($1, 'running')", execution_id)
            began = time.perf_counter()
            for _ in range(count):
                await connection.execute(_APPEND, execution_id, body)
            return count / (time.perf_counter() - began)

    async def _work(self) -> None:
        async with self._pool.acquire() as connection:
            while await self._perform_one(connection):
                pass

    async def _perform_one(self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> bool:
        async with connection.transaction():
            claimed = await connection.fetchrow(_CLAIM)
            if claimed is None:
                return False
            execution_id: UUID = claimed["id"]
            head = int(claimed["head"])
            await connection.execute(_EVENT, execution_id, head, _body("status", "running"))
        for phase in range(PHASES):
            head += 1
            async with connection.transaction():
                await connection.execute(_STEP, uuid7(), execution_id, f"node-{phase}")
                await connection.execute(_EVENT, execution_id, head, _body("node_update", f"node-{phase}"))
        async with connection.transaction():
            await connection.execute(_FINISH, execution_id, claimed["epoch"], head + 1)
            await connection.execute(_EVENT, execution_id, head + 1, _body("completion", "completed"))
        return True


def _body(kind: str, value: str) -> str:
    return json.dumps({"type": kind, "value": value, "timestamp": time.time()})
