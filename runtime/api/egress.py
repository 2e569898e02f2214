"""Where a tenant's executions may go, and what they were refused."""

from contracts.api.runtime import RuntimeApi
from contracts.egress import EgressRefusal, EgressSettings, ListRefusals, SetEgress
from contracts.errors import ApiError, Code
from contracts.model import Nothing, Page
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.egress.policy import find_entry_faults
from runtime.store.egress import EgressRecords

Caller = Call[InternalCaller]


class EgressHandlers:
    """The tenant is the token's; Experience has checked that the caller may."""

    def __init__(self, records: EgressRecords) -> None:
        self._records = records

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.get_egress, self.get)
        server.on(RuntimeApi.set_egress, self.set)
        server.on(RuntimeApi.list_refusals, self.list_refusals)

    async def get(self, call: Caller, _: Nothing) -> EgressSettings:
        """The lists as they stand."""
        return await self._records.get(call.caller.tenant_id)

    async def set(self, call: Caller, asked: SetEgress) -> EgressSettings:
        """Replace both, if every entry is one."""
        faults = [*find_entry_faults("body.allow", asked.allow), *find_entry_faults("body.deny", asked.deny)]
        if faults:
            raise ApiError(Code.INVALID, faults[0].detail, faults=faults)
        return await self._records.put(call.caller.tenant_id, asked, call.caller.user_id)

    async def list_refusals(self, call: Caller, wanted: ListRefusals) -> Page[EgressRefusal]:
        """Newest first."""
        found, cursor = await self._records.list_refusals(call.caller.tenant_id, wanted)
        return Page(items=list(found), next_cursor=cursor)
