"""What executions used tools for, and what of their doings belongs into the audit trail."""

from contracts.api.runtime import RuntimeApi
from contracts.model import Page
from contracts.tool import Acts, ListToolEvents, ReadActs, ToolEvent
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.store.tool_events import ToolEvents

Caller = Call[InternalCaller]


class ToolHandlers:
    """The tenant is the token's; Experience has checked that the caller may."""

    def __init__(self, events: ToolEvents) -> None:
        self._events = events

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.list_tool_events, self.list_tool_events)
        server.on(RuntimeApi.list_acts, self.list_acts)

    async def list_tool_events(self, call: Caller, wanted: ListToolEvents) -> Page[ToolEvent]:
        """Newest first."""
        found, cursor = await self._events.list_events(call.caller.tenant_id, wanted)
        return Page(items=list(found), next_cursor=cursor)

    async def list_acts(self, call: Caller, wanted: ReadActs) -> Acts:
        """Newest first."""
        return Acts(items=await self._events.list_acts(call.caller.tenant_id, wanted))
