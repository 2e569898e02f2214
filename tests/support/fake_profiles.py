"""Browser profiles of the fake Runtime, as a test puts them there."""

from collections import defaultdict
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID, uuid4

from contracts.browser_profile import (
    BrowserProfile,
    BrowserProfileRef,
    BrowserProfileUse,
    ListBrowserProfiles,
    ListProfileUses,
)
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.model import BrowserProfileId, ExecutionId, Nothing, Page
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call

Caller = Call[InternalCaller]


class FakeProfiles:
    """Mixed into FakeRuntime."""

    @cached_property
    def profiles(self) -> dict[UUID, dict[UUID, BrowserProfile]]:
        """By tenant and id."""
        return defaultdict(dict)

    def keep_profile(self, tenant_id: UUID, name: str) -> BrowserProfile:
        """As an execution of the tenant would."""
        now = datetime.now(UTC)
        made = BrowserProfile(
            browser_profile_id=BrowserProfileId(uuid4()),
            name=name,
            hosts=["shop.example"],
            size=100,
            version=1,
            saved_by=ExecutionId(uuid4()),
            created_at=now,
            updated_at=now,
            last_used_at=None,
        )
        self.profiles[tenant_id][made.browser_profile_id] = made
        return made

    async def _list_browser_profiles(self, call: Caller, wanted: ListBrowserProfiles) -> Page[BrowserProfile]:
        return Page(items=list(self.profiles[call.caller.tenant_id].values())[: wanted.limit], next_cursor=None)

    async def _get_browser_profile(self, call: Caller, wanted: BrowserProfileRef) -> BrowserProfile:
        found = self.profiles[call.caller.tenant_id].get(wanted.browser_profile_id)
        if found is None:
            raise ApiError(Code.NOT_FOUND, "No such browser profile.")
        return found

    async def _delete_browser_profile(self, call: Caller, asked: BrowserProfileRef) -> Nothing:
        await self._get_browser_profile(call, asked)
        del self.profiles[call.caller.tenant_id][asked.browser_profile_id]
        return NOTHING

    async def _list_profile_uses(self, call: Caller, wanted: ListProfileUses) -> Page[BrowserProfileUse]:
        await self._get_browser_profile(call, BrowserProfileRef(browser_profile_id=wanted.browser_profile_id))
        return Page(items=[], next_cursor=None)
