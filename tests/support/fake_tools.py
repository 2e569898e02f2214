"""Tools of the fake Runtime: what a test says that executions did, by tenant."""

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from uuid import UUID, uuid4

from contracts.identity import AuditAct
from contracts.model import Page
from contracts.shortcoming import FoundShortcoming, ListShortcomings, Shortcomings
from contracts.tool import Act, Acts, ListToolEvents, ReadActs, ToolEvent
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call

Caller = Call[InternalCaller]


def make_act(number: int, at: datetime, act: AuditAct = AuditAct.CREDENTIAL_USED) -> Act:
    """The one of that number, counted from the oldest; the number is its cursor."""
    return Act(
        act_id=uuid4(), cursor=str(number), at=at, act=act, user_id=None, subject=f"credential:{number}", detail={}
    )


def page_acts(acts: Sequence[Act], wanted: ReadActs) -> Acts:
    """As Runtime pages them: newest first, one more than the limit when there are."""
    fitting = [
        act
        for act in sorted(acts, key=lambda act: int(act.cursor), reverse=True)
        if (wanted.act is None or act.act is wanted.act)
        and (wanted.user_id is None or act.user_id == wanted.user_id)
        and (wanted.since is None or act.at >= wanted.since)
        and (wanted.until is None or act.at < wanted.until)
        and (wanted.cursor is None or int(act.cursor) < int(wanted.cursor))
    ]
    return Acts(items=fitting[: wanted.limit + 1])


class FakeTools:
    """Mixed into FakeRuntime."""

    @cached_property
    def acts(self) -> dict[UUID, list[Act]]:
        """By tenant, as a test puts them there."""
        return {}

    @cached_property
    def tool_events(self) -> dict[UUID, list[ToolEvent]]:
        """By tenant, as a test puts them there."""
        return {}

    @cached_property
    def shortcomings(self) -> list[FoundShortcoming]:
        """As a test puts them there."""
        return []

    async def _list_shortcomings(self, _call: Caller, _: ListShortcomings) -> Shortcomings:
        return Shortcomings(items=self.shortcomings)

    async def _list_acts(self, call: Caller, wanted: ReadActs) -> Acts:
        return page_acts(self.acts.get(call.caller.tenant_id, []), wanted)

    async def _list_tool_events(self, call: Caller, wanted: ListToolEvents) -> Page[ToolEvent]:
        return Page(items=self.tool_events.get(call.caller.tenant_id, [])[: wanted.limit], next_cursor=None)
