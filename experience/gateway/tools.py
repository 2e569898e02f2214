"""`/api/admin/tool-events`: Runtime keeps them."""

from dataclasses import dataclass

from contracts.api.tool import ToolApi
from contracts.model import Page
from contracts.tool import ListToolEvents, ToolEvent
from contracts.wiring.server import Call, Server
from experience.auth.principal import Principal, caller_of
from experience.runtime_calls import RuntimeCalls

Caller = Principal | None


@dataclass(frozen=True, slots=True)
class Tools:
    """The handler."""

    runtime: RuntimeCalls

    def serve(self, server: Server[Caller]) -> None:
        """Bind it."""
        server.on(ToolApi.list_tool_events, self.list_tool_events)

    async def list_tool_events(self, call: Call[Caller], request: ListToolEvents) -> Page[ToolEvent]:
        """`GET /api/admin/tool-events`."""
        caller = caller_of(call)
        return await self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id).list_tool_events(request)
