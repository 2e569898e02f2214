"""Credentials: keep, list, change, replace, delete, and where they went. No answer holds a value."""

from contracts.api.runtime import RuntimeApi
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
from contracts.model import Nothing, Page
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.store.vault import Credentials
from runtime.vault import Vault

Caller = Call[InternalCaller]


class CredentialHandlers:
    """The tenant is the token's; Experience has checked that the caller may."""

    def __init__(self, credentials: Credentials, vault: Vault) -> None:
        self._credentials = credentials
        self._vault = vault

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.create_credential, self.create)
        server.on(RuntimeApi.list_credentials, self.list_credentials)
        server.on(RuntimeApi.get_credential, self.get)
        server.on(RuntimeApi.change_credential, self.change)
        server.on(RuntimeApi.replace_values, self.replace)
        server.on(RuntimeApi.delete_credential, self.delete)
        server.on(RuntimeApi.list_uses, self.list_uses)

    async def create(self, call: Caller, asked: CreateCredential) -> Credential:
        """Sealed before it is stored."""
        return await self._vault.create(call.caller.tenant_id, call.caller.user_id, asked)

    async def list_credentials(self, call: Caller, wanted: ListCredentials) -> Page[Credential]:
        """Newest first."""
        found, cursor = await self._credentials.list_page(call.caller.tenant_id, wanted)
        return Page(items=list(found), next_cursor=cursor)

    async def get(self, call: Caller, wanted: CredentialRef) -> Credential:
        """All but the values."""
        return await self._credentials.get(call.caller.tenant_id, wanted.credential_id)

    async def change(self, call: Caller, asked: ChangeCredential) -> Credential:
        """Name and domains."""
        return await self._credentials.change(call.caller.tenant_id, asked)

    async def replace(self, call: Caller, asked: ReplaceValues) -> Credential:
        """The next version."""
        return await self._vault.replace(call.caller.tenant_id, asked)

    async def delete(self, call: Caller, asked: CredentialRef) -> Nothing:
        """Values and all; what it was used for stays on record."""
        await self._credentials.delete(call.caller.tenant_id, asked.credential_id)
        return NOTHING

    async def list_uses(self, call: Caller, wanted: ListUses) -> Page[CredentialUse]:
        """Newest first."""
        uses, cursor = await self._credentials.list_uses(call.caller.tenant_id, wanted)
        return Page(items=list(uses), next_cursor=cursor)
