"""`/api/browser-profile`: what Runtime keeps, forwarded; what is in a profile never comes here."""

from dataclasses import dataclass

from contracts.api.browser_profile import BrowserProfileApi
from contracts.browser_profile import (
    BrowserProfile,
    BrowserProfileRef,
    BrowserProfileUse,
    ListBrowserProfiles,
    ListProfileUses,
)
from contracts.declare import NOTHING
from contracts.identity import AuditAct
from contracts.model import Nothing, Page
from contracts.wiring.server import Call, Server
from experience.audit import Audit
from experience.auth.principal import Principal, actor_of, caller_of
from experience.runtime_calls import RuntimeCalls, TenantClient
from experience.store.db import TenantDatabase

Caller = Principal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserProfiles:
    """Handlers of `/api/browser-profile`."""

    runtime: RuntimeCalls
    tenants: TenantDatabase
    audit: Audit

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(BrowserProfileApi.list_browser_profiles, self.list_browser_profiles)
        server.on(BrowserProfileApi.get_browser_profile, self.get_browser_profile)
        server.on(BrowserProfileApi.delete_browser_profile, self.delete_browser_profile)
        server.on(BrowserProfileApi.list_profile_uses, self.list_profile_uses)

    async def list_browser_profiles(self, call: Call[Caller], request: ListBrowserProfiles) -> Page[BrowserProfile]:
        """`GET /api/browser-profile`."""
        return await self._client(call).list_browser_profiles(request)

    async def get_browser_profile(self, call: Call[Caller], request: BrowserProfileRef) -> BrowserProfile:
        """`GET /api/browser-profile/{id}`."""
        return await self._client(call).get_browser_profile(request)

    async def delete_browser_profile(self, call: Call[Caller], request: BrowserProfileRef) -> Nothing:
        """`DELETE /api/browser-profile/{id}`."""
        client, caller = self._client(call), caller_of(call)
        known = await client.get_browser_profile(request)
        await client.delete_browser_profile(request)
        subject, detail = f"browser_profile:{known.browser_profile_id}", {"name": known.name, "version": known.version}
        async with self.tenants.transaction(caller.tenant_id) as session:
            await self.audit.record(
                session, AuditAct.BROWSER_PROFILE_DELETED, subject, actor_of(call, caller), **detail
            )
        return NOTHING

    async def list_profile_uses(self, call: Call[Caller], request: ListProfileUses) -> Page[BrowserProfileUse]:
        """`GET /api/browser-profile/{id}/uses`."""
        return await self._client(call).list_profile_uses(request)

    def _client(self, call: Call[Caller]) -> TenantClient:
        caller = caller_of(call)
        return self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
