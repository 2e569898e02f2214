"""Browser profiles: list, look, delete, and where they were used. No answer holds what is in one."""

from contracts.api.runtime import RuntimeApi
from contracts.browser_profile import (
    BrowserProfile,
    BrowserProfileRef,
    BrowserProfileUse,
    ListBrowserProfiles,
    ListProfileUses,
)
from contracts.declare import NOTHING
from contracts.model import Nothing, Page
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.store.browser_profiles import BrowserProfileRecords

Caller = Call[InternalCaller]


class BrowserProfileHandlers:
    """The tenant is the token's; Experience has checked that the caller may."""

    def __init__(self, records: BrowserProfileRecords) -> None:
        self._records = records

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.list_browser_profiles, self.list_profiles)
        server.on(RuntimeApi.get_browser_profile, self.get)
        server.on(RuntimeApi.delete_browser_profile, self.delete)
        server.on(RuntimeApi.list_profile_uses, self.list_uses)

    async def list_profiles(self, call: Caller, wanted: ListBrowserProfiles) -> Page[BrowserProfile]:
        """Newest first."""
        found, cursor = await self._records.list_page(call.caller.tenant_id, wanted)
        return Page(items=list(found), next_cursor=cursor)

    async def get(self, call: Caller, wanted: BrowserProfileRef) -> BrowserProfile:
        """All but what is in it."""
        return await self._records.get(call.caller.tenant_id, wanted.browser_profile_id)

    async def delete(self, call: Caller, asked: BrowserProfileRef) -> Nothing:
        """With all that is in it; what it was used for stays on record."""
        await self._records.delete(call.caller.tenant_id, asked.browser_profile_id)
        return NOTHING

    async def list_uses(self, call: Caller, wanted: ListProfileUses) -> Page[BrowserProfileUse]:
        """Newest first."""
        uses, cursor = await self._records.list_uses(call.caller.tenant_id, wanted)
        return Page(items=list(uses), next_cursor=cursor)
