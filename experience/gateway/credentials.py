"""`/api/credential`: Runtime's vault, forwarded. Values pass through here on their way in and are kept nowhere."""

from dataclasses import dataclass

from contracts.api.credential import CredentialApi
from contracts.credential import (
    ChangeCredential,
    CreateCredential,
    Credential,
    CredentialRef,
    CredentialUse,
    ListCredentials,
    ListUses,
    ReplaceValues,
)
from contracts.declare import NOTHING
from contracts.identity import AuditAct
from contracts.model import CredentialId, Nothing, Page
from contracts.wiring.server import Call, Server
from experience.audit import Audit
from experience.auth.principal import Principal, actor_of, caller_of
from experience.runtime_calls import RuntimeCalls, TenantClient
from experience.store.db import TenantDatabase

Caller = Principal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Handlers of `/api/credential`."""

    runtime: RuntimeCalls
    tenants: TenantDatabase
    audit: Audit

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(CredentialApi.create_credential, self.create_credential)
        server.on(CredentialApi.list_credentials, self.list_credentials)
        server.on(CredentialApi.get_credential, self.get_credential)
        server.on(CredentialApi.change_credential, self.change_credential)
        server.on(CredentialApi.replace_values, self.replace_values)
        server.on(CredentialApi.delete_credential, self.delete_credential)
        server.on(CredentialApi.list_uses, self.list_uses)

    async def create_credential(self, call: Call[Caller], request: CreateCredential) -> Credential:
        """`POST /api/credential`."""
        made = await self._client(call).create_credential(request)
        await self._note(call, AuditAct.CREDENTIAL_CREATED, made.credential_id, made)
        return made

    async def list_credentials(self, call: Call[Caller], request: ListCredentials) -> Page[Credential]:
        """`GET /api/credential`."""
        return await self._client(call).list_credentials(request)

    async def get_credential(self, call: Call[Caller], request: CredentialRef) -> Credential:
        """`GET /api/credential/{id}`."""
        return await self._client(call).get_credential(request)

    async def change_credential(self, call: Call[Caller], request: ChangeCredential) -> Credential:
        """`PATCH /api/credential/{id}`."""
        changed = await self._client(call).change_credential(request)
        await self._note(call, AuditAct.CREDENTIAL_CHANGED, changed.credential_id, changed)
        return changed

    async def replace_values(self, call: Call[Caller], request: ReplaceValues) -> Credential:
        """`PUT /api/credential/{id}/values`."""
        replaced = await self._client(call).replace_values(request)
        await self._note(call, AuditAct.CREDENTIAL_REPLACED, replaced.credential_id, replaced)
        return replaced

    async def delete_credential(self, call: Call[Caller], request: CredentialRef) -> Nothing:
        """`DELETE /api/credential/{id}`."""
        client = self._client(call)
        known = await client.get_credential(request)
        await client.delete_credential(request)
        await self._note(call, AuditAct.CREDENTIAL_DELETED, request.credential_id, known)
        return NOTHING

    async def list_uses(self, call: Call[Caller], request: ListUses) -> Page[CredentialUse]:
        """`GET /api/credential/{id}/uses`."""
        return await self._client(call).list_uses(request)

    async def _note(self, call: Call[Caller], act: AuditAct, credential_id: CredentialId, known: Credential) -> None:
        caller = caller_of(call)
        detail = {"name": known.name, "version": known.version, "domains": known.domains}
        async with self.tenants.transaction(caller.tenant_id) as session:
            await self.audit.record(session, act, f"credential:{credential_id}", actor_of(call, caller), **detail)

    def _client(self, call: Call[Caller]) -> TenantClient:
        caller = caller_of(call)
        return self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
