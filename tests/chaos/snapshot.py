"""What PostgreSQL says about everything, read as its superuser at one instant."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from contracts.execution import ExecutionStatus
from tests.support.postgres import Database

Row = Mapping[str, Any]
Rows = Sequence[Row]

_EXECUTIONS = """
    SELECT e.*, coalesce(e.plan, v.plan) AS whole_plan FROM runtime.executions e
    LEFT JOIN runtime.workflow_versions v ON v.workflow_id = e.workflow_id AND v.version = e.workflow_version
"""
_CHILDREN = {
    "events": "SELECT * FROM runtime.events ORDER BY execution_id, seq",
    "steps": "SELECT * FROM runtime.steps ORDER BY execution_id, ordinal, node_id, attempt",
    "runs": "SELECT * FROM runtime.runs ORDER BY execution_id, epoch",
    "artifacts": "SELECT * FROM runtime.artifacts",
    "checkpoints": "SELECT execution_id, tenant_id, node_id, page FROM runtime.checkpoints",
    "dead_letters": "SELECT * FROM runtime.dead_letters",
}
_INTENTS = "SELECT intent_id, execution_id, tenant_id, status, next_attempt_at FROM experience.intents"
_QUEUE = "SELECT id, status, payload, dedupe_key FROM runtime.pgqueuer"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Rows as dictionaries; ids as text."""

    executions: Mapping[str, Row]
    intents: Rows
    queue: Rows
    """Entries, each with the `execution_id` and `tenant_id` of its payload."""
    events: Mapping[str, Rows] = field(default_factory=dict)
    """By execution, in order; `body` parsed."""
    steps: Mapping[str, Rows] = field(default_factory=dict)
    runs: Mapping[str, Rows] = field(default_factory=dict)
    artifacts: Mapping[str, Rows] = field(default_factory=dict)
    checkpoints: Mapping[str, Rows] = field(default_factory=dict)
    dead_letters: Mapping[str, Rows] = field(default_factory=dict)

    @property
    def unfinished(self) -> list[str]:
        """Executions that a worker should be at, or will be."""
        going_on = (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)
        return [one for one, row in self.executions.items() if row["status"] in going_on]


_SERVER_FAULTS = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,  # it goes down, or is not up yet
)


@retry(
    retry=retry_if_exception_type(_SERVER_FAULTS),
    stop=stop_after_delay(30),
    wait=wait_fixed(0.2),
    reraise=True,
)
async def read_snapshot(database: Database) -> Snapshot:
    """Read it all in one transaction; once more where a fault of the server's takes this connection, too."""
    connection = await asyncpg.connect(database.superuser_dsn, command_timeout=30)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            children = {
                name: _group([_plain(row) for row in await connection.fetch(q)]) for name, q in _CHILDREN.items()
            }
            return Snapshot(
                executions={row["execution_id"]: row for row in map(_plain, await connection.fetch(_EXECUTIONS))},
                intents=[_plain(row) for row in await connection.fetch(_INTENTS)],
                queue=[_entry(row) for row in await connection.fetch(_QUEUE)],
                **children,
            )
    finally:
        await connection.close()


_JSON_COLUMNS = frozenset({"body", "whole_plan", "error", "outputs", "result"})


def _plain(record: "asyncpg.Record") -> Row:
    row = {name: str(value) if name.endswith("_id") and value is not None else value for name, value in record.items()}
    for name in _JSON_COLUMNS & row.keys():
        if isinstance(row[name], str):
            row[name] = json.loads(row[name])
    return row


def _entry(record: "asyncpg.Record") -> Row:
    return {"id": record["id"], "status": record["status"], **json.loads(record["payload"])}


def _group(rows: Rows) -> Mapping[str, Rows]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["execution_id"]].append(row)
    return grouped
