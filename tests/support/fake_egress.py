"""Egress of the fake Runtime: the lists as they were set, by tenant."""

from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

from contracts.egress import EgressRefusal, EgressSettings, ListRefusals, SetEgress
from contracts.model import Nothing, Page
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call

Caller = Call[InternalCaller]


class FakeEgress:
    """Mixed into FakeRuntime."""

    @cached_property
    def egress(self) -> dict[UUID, EgressSettings]:
        """By tenant."""
        return {}

    @cached_property
    def refusals(self) -> dict[UUID, list[EgressRefusal]]:
        """By tenant, as a test puts them there."""
        return {}

    async def _get_egress(self, call: Caller, _: Nothing) -> EgressSettings:
        return self.egress.get(call.caller.tenant_id, EgressSettings(updated_at=None, updated_by=None))

    async def _set_egress(self, call: Caller, asked: SetEgress) -> EgressSettings:
        made = EgressSettings(
            allow=asked.allow, deny=asked.deny, updated_at=datetime.now(UTC), updated_by=call.caller.user_id
        )
        self.egress[call.caller.tenant_id] = made
        return made

    async def _list_refusals(self, call: Caller, wanted: ListRefusals) -> Page[EgressRefusal]:
        return Page(items=self.refusals.get(call.caller.tenant_id, [])[: wanted.limit], next_cursor=None)
