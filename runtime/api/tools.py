"""What executions used tools for, what of their doings belongs into the audit trail, and how well they are shut in."""

from contracts.api.runtime import RuntimeApi
from contracts.model import Page
from contracts.shortcoming import ListShortcomings, Shortcomings
from contracts.tool import Acts, ListToolEvents, ReadActs, ToolEvent
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.store.sandboxes import Sandboxes
from runtime.store.tool_events import ToolEvents

Caller = Call[InternalCaller]


class ToolHandlers:
    """The tenant is the token's; Experience has checked that the caller may."""

    def __init__(self, events: ToolEvents, sandboxes: Sandboxes) -> None:
        self._events = events
        self._sandboxes = sandboxes

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.list_tool_events, self.list_tool_events)
        server.on(RuntimeApi.list_acts, self.list_acts)
        server.on(RuntimeApi.list_shortcomings, self.list_shortcomings)

    async def list_tool_events(self, call: Caller, wanted: ListToolEvents) -> Page[ToolEvent]:
        """Newest first."""
        found, cursor = await self._events.list_events(call.caller.tenant_id, wanted)
        return Page(items=list(found), next_cursor=cursor)

    async def list_acts(self, call: Caller, wanted: ReadActs) -> Acts:
        """Newest first."""
        return Acts(items=await self._events.list_acts(call.caller.tenant_id, wanted))

    async def list_shortcomings(self, call: Caller, asked: ListShortcomings) -> Shortcomings:
        """Of all workers that are there now."""
        found = await self._sandboxes.list_shortcomings(call.caller.tenant_id)
        return Shortcomings(items=[one for one in found if one.shortcoming in asked.names])
