"""Browser profiles as they are stored, sealed; runtime/profiles.py seals and opens them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select
from uuid_utils.compat import uuid7

from contracts.browser_profile import BrowserProfile, BrowserProfileUse, ListBrowserProfiles, ListProfileUses
from contracts.errors import ApiError, Code
from contracts.model import BrowserProfileId, ExecutionId, TenantId
from runtime.store.admission import lock_tenant
from runtime.store.cursors import cut_page, select_page
from runtime.store.db import Database, TenantSession
from runtime.store.tables import BrowserProfileRow, BrowserProfileUseRow

MAX_PROFILES: Final = 200
"""Of one tenant."""


@dataclass(frozen=True)
class SealedState:
    """What is in a profile, under a data key of its own, and that key, wrapped."""

    state_id: UUID
    """Of this save alone; it is authenticated with the content."""
    data_key: bytes = field(repr=False)
    content: bytes = field(repr=False)
    hosts: Sequence[str] = ()
    size: int = 0
    """Bytes before it was packed and sealed."""


@dataclass(frozen=True)
class ProfileUse:
    """Which node saves or loads it."""

    execution_id: ExecutionId
    node_id: str


class BrowserProfileRecords:
    """Every row is the caller's tenant's; another tenant's is unknown."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def save(self, tenant_id: TenantId, name: str, state: SealedState, use: ProfileUse) -> BrowserProfile:
        """Make a profile of that name, or the next version of it; of two that save at once, the later one stays.

        Raises:
            ApiError: LIMIT_REACHED.
        """
        now = datetime.now(UTC)
        async with self._db.write(tenant_id) as session:
            await lock_tenant(session, tenant_id)
            row = await _find_named(session, name)
            if row is None:
                await _refuse_too_many(session)
                row = BrowserProfileRow(
                    browser_profile_id=uuid7(), tenant_id=tenant_id, name=name, version=0, created_at=now
                )
            row.version += 1
            row.state_id, row.data_key, row.sealed = state.state_id, state.data_key, state.content
            row.hosts, row.size = list(state.hosts), state.size
            row.saved_by, row.updated_at = use.execution_id, now
            session.add(row)
            session.add(_note(row, "saved", use, now))
            await session.flush()
            return _describe(row)

    async def load(self, tenant_id: TenantId, name: str, use: ProfileUse) -> BrowserProfileRow | None:
        """The profile of that name, sealed as it is, once it is on record who loads it."""
        now = datetime.now(UTC)
        async with self._db.write(tenant_id) as session:
            row = await _find_named(session, name)
            if row is None:
                return None
            row.last_used_at = now
            session.add(_note(row, "loaded", use, now))
            await session.flush()
            session.expunge(row)
            return row

    async def list_page(
        self, tenant_id: TenantId, wanted: ListBrowserProfiles
    ) -> tuple[Sequence[BrowserProfile], str | None]:
        """One page, newest first, and the cursor of the next. Raises ApiError (INVALID) for a bad cursor."""
        query = select(BrowserProfileRow).where(col(BrowserProfileRow.tenant_id) == tenant_id)
        keys = (col(BrowserProfileRow.created_at), col(BrowserProfileRow.browser_profile_id))
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            found = [_describe(row) for row in await session.exec(query)]
        return cut_page(found, wanted.limit, lambda last: (last.created_at, last.browser_profile_id))

    async def get(self, tenant_id: TenantId, browser_profile_id: BrowserProfileId) -> BrowserProfile:
        """One of them. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            return _describe(await _find(session, browser_profile_id))

    async def delete(self, tenant_id: TenantId, browser_profile_id: BrowserProfileId) -> None:
        """Delete it with what is in it; its uses stay on record. Raises ApiError (NOT_FOUND)."""
        async with self._db.write(tenant_id) as session:
            await session.delete(await _find(session, browser_profile_id, lock=True))

    async def list_uses(
        self, tenant_id: TenantId, wanted: ListProfileUses
    ) -> tuple[Sequence[BrowserProfileUse], str | None]:
        """One page of a profile's uses, newest first, also of one that is gone.

        Raises:
            ApiError: NOT_FOUND for one that never was; INVALID for a bad cursor.
        """
        query = select(BrowserProfileUseRow).where(
            col(BrowserProfileUseRow.browser_profile_id) == wanted.browser_profile_id,
            col(BrowserProfileUseRow.tenant_id) == tenant_id,
        )
        keys = (col(BrowserProfileUseRow.at), col(BrowserProfileUseRow.use_id))
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            rows: Sequence[BrowserProfileUseRow] = list(await session.exec(query))
            if not rows:
                await _find(session, wanted.browser_profile_id)
        rows, further = cut_page(rows, wanted.limit, lambda last: (last.at, last.use_id))
        fields = BrowserProfileUse.model_fields
        return [
            BrowserProfileUse.model_validate({name: getattr(row, name) for name in fields}) for row in rows
        ], further


async def _find(
    session: TenantSession, browser_profile_id: BrowserProfileId, *, lock: bool = False
) -> BrowserProfileRow:
    query = select(BrowserProfileRow).where(
        col(BrowserProfileRow.browser_profile_id) == browser_profile_id,
        col(BrowserProfileRow.tenant_id) == session.tenant_id,
    )
    row = (await session.exec(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise ApiError(Code.NOT_FOUND, "No such browser profile.")
    return row


async def _find_named(session: TenantSession, name: str) -> BrowserProfileRow | None:
    query = select(BrowserProfileRow).where(
        col(BrowserProfileRow.name) == name, col(BrowserProfileRow.tenant_id) == session.tenant_id
    )
    return (await session.exec(query.with_for_update())).one_or_none()


async def _refuse_too_many(session: TenantSession) -> None:
    counted = select(func.count()).where(col(BrowserProfileRow.tenant_id) == session.tenant_id)
    if (await session.exec(counted)).one() >= MAX_PROFILES:
        raise ApiError(
            Code.LIMIT_REACHED, f"A tenant may keep {MAX_PROFILES} browser profiles.", "Delete those nobody uses."
        )


def _note(
    row: BrowserProfileRow, act: Literal["saved", "loaded"], use: ProfileUse, now: datetime
) -> BrowserProfileUseRow:
    return BrowserProfileUseRow(
        use_id=uuid7(),
        tenant_id=row.tenant_id,
        browser_profile_id=row.browser_profile_id,
        name=row.name,
        version=row.version,
        act=act,
        execution_id=use.execution_id,
        node_id=use.node_id,
        at=now,
    )


def _describe(row: BrowserProfileRow) -> BrowserProfile:
    return BrowserProfile.model_validate({name: getattr(row, name) for name in BrowserProfile.model_fields})
