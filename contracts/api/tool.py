"""`/api/admin/tool-events`: what executions used tools for."""

from contracts.declare import Endpoint
from contracts.identity import Scope
from contracts.model import Page
from contracts.tool import ListToolEvents, ToolEvent


class ToolApi:
    """For owners and admins of a tenant."""

    list_tool_events = Endpoint(
        method="GET",
        path="/api/admin/tool-events",
        request=ListToolEvents,
        result=Page[ToolEvent],
        summary="What executions used http_request, run_code and download_file for, newest first.",
        scope=Scope.AUDIT,
        tag="admin",
    )
