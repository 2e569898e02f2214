"""`/api/admin/egress`: Runtime keeps the lists and the refusals; who changes the lists is audited here."""

from dataclasses import dataclass

from contracts.api.egress import EgressApi
from contracts.egress import EgressRefusal, EgressSettings, ListRefusals, SetEgress
from contracts.identity import AuditAct
from contracts.model import Nothing, Page
from contracts.wiring.server import Call, Server
from experience.audit import Audit
from experience.auth.principal import Principal, actor_of, caller_of
from experience.runtime_calls import RuntimeCalls, TenantClient
from experience.store.db import TenantDatabase

Caller = Principal | None
_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Handlers of `/api/admin/egress`."""

    runtime: RuntimeCalls
    tenants: TenantDatabase
    audit: Audit

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(EgressApi.get_egress, self.get_egress)
        server.on(EgressApi.set_egress, self.set_egress)
        server.on(EgressApi.list_refusals, self.list_refusals)

    async def get_egress(self, call: Call[Caller], request: Nothing) -> EgressSettings:
        """`GET /api/admin/egress`."""
        return await self._client(call).get_egress(request)

    async def set_egress(self, call: Call[Caller], request: SetEgress) -> EgressSettings:
        """`PUT /api/admin/egress`."""
        caller = caller_of(call)
        settings = await self._client(call).set_egress(request)
        detail = {"allow": settings.allow[:_SHOWN], "deny": settings.deny[:_SHOWN]}
        async with self.tenants.transaction(caller.tenant_id) as session:
            subject, by = f"tenant:{caller.tenant_id}", actor_of(call, caller)
            await self.audit.record(session, AuditAct.EGRESS_CHANGED, subject, by, **detail)
        return settings

    async def list_refusals(self, call: Call[Caller], request: ListRefusals) -> Page[EgressRefusal]:
        """`GET /api/admin/egress/refusals`."""
        return await self._client(call).list_refusals(request)

    def _client(self, call: Call[Caller]) -> TenantClient:
        caller = caller_of(call)
        return self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
