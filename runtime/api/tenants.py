"""Tenants: their limits, adopting a guest's work, export, deletion."""

from contracts.api.runtime import RuntimeApi
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.execution import AdoptTenant, Moved, RuntimeExport, TenantState
from contracts.model import Nothing
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.artifacts import ArtifactFolder
from runtime.store.tenants import Tenants

Caller = Call[InternalCaller]


class TenantHandlers:
    """Everything happens to the token's tenant."""

    def __init__(self, tenants: Tenants, folder: ArtifactFolder) -> None:
        self._tenants = tenants
        self._folder = folder

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.set_tenant, self.put)
        server.on(RuntimeApi.adopt_tenant, self.adopt)
        server.on(RuntimeApi.export_tenant, self.export)
        server.on(RuntimeApi.delete_tenant, self.delete)

    async def put(self, call: Caller, state: TenantState) -> Nothing:
        """Experience may say this of the tenant that its token names, and of no other."""
        if state.tenant_id != call.caller.tenant_id:
            raise ApiError(Code.FORBIDDEN, "The token is another tenant's.", "Sign a token for the tenant in the path.")
        await self._tenants.put(state)
        return NOTHING

    async def adopt(self, call: Caller, asked: AdoptTenant) -> Moved:
        """Experience has checked that the guest became this tenant's user."""
        return Moved(executions=await self._tenants.adopt(call.caller.tenant_id, asked.guest_tenant_id))

    async def export(self, call: Caller, _: Nothing) -> RuntimeExport:
        """All rows."""
        return await self._tenants.export(call.caller.tenant_id)

    async def delete(self, call: Caller, _: Nothing) -> Nothing:
        """All rows, then the files that nothing refers to any more."""
        await self._folder.remove(await self._tenants.delete(call.caller.tenant_id))
        return NOTHING
