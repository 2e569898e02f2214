"""Dead letters: written once, listed until somebody decides, decided once."""

from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus, Failure, FailureCode, TenantState
from contracts.model import ExecutionId, TenantId, UserId
from contracts.recovery import DeadLetter, ListDeadLetters
from runtime.store.changes import Change, End
from runtime.store.db import Database, SystemDatabase
from runtime.store.dead_letters import DeadLetters, add_dead_letter, resolve_as_retried
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.runs import Runs
from runtime.store.tables import DeadLetterRow
from runtime.store.tenants import Tenants
from runtime.store.upkeep import DEAD_LETTER_DAYS, Upkeep
from tests.runtime.made import make_execution

FAILURE = Failure(code=FailureCode.WORKER_LOST, message="4 workers were lost in it.", hint="Look at the suspects.")


@pytest.fixture
def letters(db: Database) -> DeadLetters:
    return DeadLetters(db)


@pytest.fixture
def admin() -> UserId:
    return UserId(uuid7())


class Graveyard:
    """Executions that died."""

    def __init__(self, db: Database, executions: Executions, runs: Runs, tenant_id: TenantId) -> None:
        self._db = db
        self._executions = executions
        self._runs = runs
        self.tenant_id = tenant_id

    async def bury(self, *, losses: int = 2) -> ExecutionId:
        """One whose workers vanished `losses` times."""
        new = make_execution()
        await self._executions.submit(self.tenant_id, new)
        for number in range(losses):
            await self._runs.claim(self.tenant_id, new.execution_id, f"worker-{number}", alone=True)
        claimed = await self._runs.claim(self.tenant_id, new.execution_id, f"worker-{losses}", alone=True)
        assert claimed is not None
        await self._runs.finish(claimed.lease, Change(), End(status=ExecutionStatus.FAILED, failure=FAILURE))
        async with self._db.write(self.tenant_id) as session:
            await add_dead_letter(session, new.execution_id, FAILURE, losses, ["click", "type"])
        return new.execution_id

    async def retry(self, execution_id: ExecutionId, by: UserId | None = None) -> ExecutionId:
        again = make_execution()
        await self._executions.submit(self.tenant_id, again)
        async with self._db.write(self.tenant_id) as session:
            await resolve_as_retried(session, execution_id, again.execution_id, by)
        return again.execution_id


@pytest.fixture
async def graveyard(
    db: Database, executions: Executions, runs: Runs, tenants: Tenants, tenant_id: TenantId
) -> Graveyard:
    await tenants.put(TenantState(tenant_id=tenant_id, suspended=False, max_concurrent_executions=100))
    return Graveyard(db, executions, runs, tenant_id)


async def list_all(letters: DeadLetters, tenant_id: TenantId, *, resolved: bool = False) -> list[DeadLetter]:
    found, cursor = await letters.list_page(tenant_id, ListDeadLetters(resolved=resolved))
    assert cursor is None
    return list(found)


async def test_one_tells_what_is_needed_to_find_the_reason(letters: DeadLetters, graveyard: Graveyard) -> None:
    execution_id = await graveyard.bury(losses=2)
    letter = await letters.get(graveyard.tenant_id, execution_id)
    assert (letter.failure, letter.losses, letter.in_flight) == (FAILURE, 2, ["click", "type"])
    assert letter.name == "Visit a page"
    assert [(run.epoch, run.worker, run.outcome) for run in letter.runs] == [
        (1, "worker-0", "lost"),
        (2, "worker-1", "lost"),
        (3, "worker-2", "finished"),
    ]
    assert letter.resolution is None


async def test_burying_again_changes_nothing(db: Database, letters: DeadLetters, graveyard: Graveyard) -> None:
    execution_id = await graveyard.bury(losses=2)
    async with db.write(graveyard.tenant_id) as session:
        await add_dead_letter(session, execution_id, FAILURE, 9, [])
    assert (await letters.get(graveyard.tenant_id, execution_id)).losses == 2


async def test_they_are_listed_newest_first_page_by_page(letters: DeadLetters, graveyard: Graveyard) -> None:
    buried = [await graveyard.bury(losses=1) for _ in range(5)]
    seen: list[ExecutionId] = []
    cursor = None
    for _ in range(3):
        page, cursor = await letters.list_page(graveyard.tenant_id, ListDeadLetters(limit=2, cursor=cursor))
        seen += [letter.execution_id for letter in page]
    assert cursor is None
    assert seen == buried[::-1]


async def test_a_decided_one_is_on_the_other_list(letters: DeadLetters, graveyard: Graveyard, admin: UserId) -> None:
    discarded, retried, waiting = [await graveyard.bury(losses=1) for _ in range(3)]
    await letters.discard(graveyard.tenant_id, discarded, admin, "a test page")
    again = await graveyard.retry(retried, admin)
    assert [letter.execution_id for letter in await list_all(letters, graveyard.tenant_id)] == [waiting]
    decided = {letter.execution_id: letter for letter in await list_all(letters, graveyard.tenant_id, resolved=True)}
    assert set(decided) == {discarded, retried}
    assert (decided[discarded].resolution, decided[discarded].resolved_by) == ("discarded", admin)
    assert (decided[retried].resolution, decided[retried].retried_as) == ("retried", again)
    assert all(letter.resolved_at is not None for letter in decided.values())


async def test_the_first_decision_stands(letters: DeadLetters, graveyard: Graveyard, admin: UserId) -> None:
    retried, discarded = await graveyard.bury(losses=1), await graveyard.bury(losses=1)
    again = await graveyard.retry(retried)
    await graveyard.retry(retried)
    with pytest.raises(ApiError) as refused:
        await letters.discard(graveyard.tenant_id, retried, admin, "")
    assert refused.value.code is Code.CONFLICT
    assert (await letters.get(graveyard.tenant_id, retried)).retried_as == again
    first = await letters.discard(graveyard.tenant_id, discarded, admin, "one")
    assert await letters.discard(graveyard.tenant_id, discarded, UserId(uuid7()), "two") == first
    await graveyard.retry(discarded)
    assert (await letters.get(graveyard.tenant_id, discarded)).resolution == "discarded"


async def test_retrying_what_never_died_notes_nothing(
    letters: DeadLetters, graveyard: Graveyard, executions: Executions
) -> None:
    new = make_execution()
    await executions.submit(graveyard.tenant_id, new)
    await graveyard.retry(new.execution_id)
    assert await list_all(letters, graveyard.tenant_id, resolved=True) == []


async def test_another_tenants_is_unknown(
    db: Database, letters: DeadLetters, graveyard: Graveyard, admin: UserId
) -> None:
    execution_id, stranger = await graveyard.bury(losses=1), TenantId(uuid7())
    for asked in (letters.get(stranger, execution_id), letters.discard(stranger, execution_id, admin, "")):
        with pytest.raises(ApiError) as refused:
            await asked
        assert refused.value.code is Code.NOT_FOUND
    async with db.write(stranger) as session:
        await resolve_as_retried(session, execution_id, ExecutionId(uuid7()), admin)
    assert await list_all(letters, stranger) == []
    assert (await letters.get(graveyard.tenant_id, execution_id)).resolution is None


async def test_they_move_with_a_guests_work_and_go_with_the_tenant(
    letters: DeadLetters, graveyard: Graveyard, tenants: Tenants
) -> None:
    execution_id, user_tenant = await graveyard.bury(losses=1), TenantId(uuid7())
    await tenants.adopt(user_tenant, graveyard.tenant_id)
    assert (await letters.get(user_tenant, execution_id)).losses == 1
    await tenants.delete(user_tenant)
    assert await list_all(letters, user_tenant) == []


@pytest.mark.parametrize("decided", [False, True])
async def test_an_old_one_goes_and_its_execution_stays(
    letters: DeadLetters,
    graveyard: Graveyard,
    executions: Executions,
    system: SystemDatabase,
    queue: PgQueue,
    admin: UserId,
    *,
    decided: bool,
) -> None:
    old, young = await graveyard.bury(losses=1), await graveyard.bury(losses=1)
    limit = datetime.now(UTC) - timedelta(days=DEAD_LETTER_DAYS)
    for execution_id, by in ((old, -timedelta(hours=1)), (young, timedelta(hours=1))):
        if decided:
            await letters.discard(graveyard.tenant_id, execution_id, admin, "")
        async with system.write() as session:
            row = await session.get_one(DeadLetterRow, execution_id)
            # a decision counts from when it was made, however long it was waited for
            row.died_at = limit - timedelta(days=5) if decided else limit + by
            row.resolved_at = limit + by if decided else None
    pruned = [one async for one in Upkeep(system, queue).prune()]
    assert sum(one.dead_letters for one in pruned) >= 1
    left = await list_all(letters, graveyard.tenant_id, resolved=decided)
    assert [letter.execution_id for letter in left] == [young]
    assert (await executions.get(graveyard.tenant_id, old)).status is ExecutionStatus.FAILED
