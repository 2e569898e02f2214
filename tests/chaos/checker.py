"""The checker: waits until all is calm, reads everything, and fails with every promise that was broken."""

import asyncio
import time

import asyncpg

from tests.chaos.invariants import find_violations
from tests.chaos.rig import Rig
from tests.chaos.snapshot import Snapshot, read_snapshot
from tests.support.processes import wait_until_gone

CALM_S = 120.0
"""For everything to end after the last fault: recovery, retries, and a reconciler that comes every 15 s."""
GONE_S = 20.0


async def check_now(rig: Rig) -> Snapshot:
    """What must hold at any instant, also while a fault lasts."""
    known = rig.ledger.copy()
    snapshot = await read_snapshot(rig.database)
    _assert_none(find_violations(snapshot, known, settled=False))
    return snapshot


async def settle(rig: Rig, patience_s: float = CALM_S) -> Snapshot:
    """Wait until nothing is under way: no execution, no queue entry, no undelivered intent."""
    deadline = time.monotonic() + patience_s
    while True:
        snapshot = await read_snapshot(rig.database)
        owed = [row["execution_id"] for row in snapshot.intents if row["next_attempt_at"] is not None]
        missing = [one for one in rig.ledger.accepted if one not in snapshot.executions]
        if not snapshot.unfinished and not snapshot.queue and not owed and not missing:
            return snapshot
        assert time.monotonic() < deadline, (
            f"not calm after {patience_s:g} s: unfinished {_describe(snapshot)}, queue {snapshot.queue}, "
            f"undelivered {owed}, never arrived {missing}"
        )
        await asyncio.sleep(0.25)


async def conclude(rig: Rig) -> Snapshot:
    """The whole check at the end of a scenario: calm, promises, and nothing left of any process."""
    await settle(rig)
    await _let_clients_finish(rig)
    snapshot = await read_snapshot(rig.database)
    _assert_none(find_violations(snapshot, rig.ledger, settled=True, artifacts=rig.artifacts))
    await rig.down()
    await rig.sweep()
    _assert_none([*await _find_leftovers(rig)])
    return snapshot


async def _let_clients_finish(rig: Rig) -> None:
    """A terminal event that is in the log is on its way to whoever watches."""
    deadline = time.monotonic() + GONE_S
    while not all(sighting.done for sighting in rig.ledger.sightings) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _find_leftovers(rig: Rig) -> list[str]:
    """Processes, profiles and connections that outlived the stack."""
    found = []
    traefik = rig.traefik.pid if rig.traefik.alive else None
    left = await asyncio.to_thread(wait_until_gone, str(rig.scratch), GONE_S)
    found += [f"process {pid} is left: {command[:120]}" for pid, command in left.items() if pid != traefik]
    found += [f"{path} is left" for path in (rig.scratch / "browsers").glob("*")]
    found += [f"backend {pid} is left" for pid in await _list_backends(rig)]
    return found


async def _list_backends(rig: Rig) -> list[int]:
    """Connections of our roles to the database; the server needs a moment to notice who has gone."""
    deadline = time.monotonic() + GONE_S
    while True:
        left = [pid for role in ("runtime%", "experience%") for pid in await rig.backends.list_pids(role)]
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.1)


def _describe(snapshot: Snapshot) -> list[str]:
    return [
        f"{one} {row['status']} at {row['current_node']} epoch {row['epoch']} losses {row['losses']} "
        f"admitted {row['admitted_at']}"
        for one in snapshot.unfinished
        for row in (snapshot.executions[one],)
    ]


def _assert_none(violations: list[str]) -> None:
    if violations:
        raise AssertionError("\n".join([f"{len(violations)} broken promises:", *violations]))


async def open_runs(rig: Rig, execution_id: str) -> list[int]:
    """Process ids of the workers whose run of an execution is open."""
    connection = await asyncpg.connect(rig.database.superuser_dsn)
    try:
        query = "SELECT worker FROM runtime.runs WHERE execution_id = $1::uuid AND ended_at IS NULL"
        return [int(row["worker"].split(":")[1]) for row in await connection.fetch(query, execution_id)]
    finally:
        await connection.close()
