"""What goes into the audit trail, and by whom. Written in the transaction of the act: no act without its entry."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.identity import AuditAct
from contracts.model import TenantId, UserId
from experience.store.audit import insert_entry, insert_entry_for
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import AuditRow

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, from where, in which request."""

    user_id: UserId | None
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Writes entries. `detail` holds no secret: names, roles, reasons."""

    clock: Clock

    async def record(self, session: TenantSession, act: AuditAct, subject: str, by: Actor, **detail: Any) -> None:
        """Note an act in the tenant of this transaction; `subject` is `kind:id`."""
        await insert_entry(session, self._row(session.tenant_id, act, subject, by, detail))

    async def record_for(
        self, session: SystemSession, tenant_id: TenantId, act: AuditAct, subject: str, by: Actor, **detail: Any
    ) -> None:
        """Note an act in a tenant that the caller is not acting in (yet): sign-ins, operators."""
        await insert_entry_for(session, self._row(tenant_id, act, subject, by, detail))

    def _row(self, tenant_id: TenantId, act: AuditAct, subject: str, by: Actor, detail: dict[str, Any]) -> AuditRow:
        return AuditRow(
            tenant_id=tenant_id,
            at=self.clock(),
            act=act.value,
            user_id=by.user_id,
            subject=subject,
            address=by.address,
            request_id=by.request_id,
            detail=detail,
        )
