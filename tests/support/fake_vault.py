"""The vault of the fake Runtime: credentials by tenant, and the values only to look whether they arrived."""

from collections import defaultdict
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID, uuid4

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
from contracts.errors import ApiError, Code
from contracts.model import CredentialId, Nothing, Page
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call

Caller = Call[InternalCaller]


class FakeVault:
    """Mixed into FakeRuntime."""

    @cached_property
    def credentials(self) -> dict[UUID, dict[UUID, Credential]]:
        """By tenant and id."""
        return defaultdict(dict)

    @cached_property
    def values(self) -> dict[UUID, dict[str, str]]:
        """What was handed over last, by credential."""
        return {}

    async def _create_credential(self, call: Caller, asked: CreateCredential) -> Credential:
        now = datetime.now(UTC)
        made = Credential(
            credential_id=CredentialId(uuid4()),
            name=asked.name,
            kind=asked.kind,
            fields=list(asked.values),
            domains=list(asked.domains),
            version=1,
            created_at=now,
            created_by=call.caller.user_id,
            updated_at=now,
            last_used_at=None,
        )
        mine = self.credentials[call.caller.tenant_id]
        if any(one.name == made.name for one in mine.values()):
            raise ApiError(Code.CONFLICT, f"There is a credential “{made.name}” already.")
        self.values[made.credential_id] = asked.values
        mine[made.credential_id] = made
        return made

    async def _list_credentials(self, call: Caller, wanted: ListCredentials) -> Page[Credential]:
        found = list(self.credentials[call.caller.tenant_id].values())
        return Page(items=found[: wanted.limit], next_cursor=None)

    async def _get_credential(self, call: Caller, wanted: CredentialRef) -> Credential:
        found = self.credentials[call.caller.tenant_id].get(wanted.credential_id)
        if found is None:
            raise ApiError(Code.NOT_FOUND, "No such credential.")
        return found

    async def _change_credential(self, call: Caller, asked: ChangeCredential) -> Credential:
        known = await self._get_credential(call, CredentialRef(credential_id=asked.credential_id))
        return self._put(call, known, asked.model_dump(include={"name", "domains"}, exclude_none=True))

    async def _replace_values(self, call: Caller, asked: ReplaceValues) -> Credential:
        known = await self._get_credential(call, CredentialRef(credential_id=asked.credential_id))
        self.values[known.credential_id] = asked.values
        return self._put(call, known, {"version": known.version + 1})

    async def _delete_credential(self, call: Caller, asked: CredentialRef) -> Nothing:
        await self._get_credential(call, asked)
        del self.credentials[call.caller.tenant_id][asked.credential_id]
        return NOTHING

    async def _list_uses(self, call: Caller, wanted: ListUses) -> Page[CredentialUse]:
        await self._get_credential(call, CredentialRef(credential_id=wanted.credential_id))
        return Page(items=[], next_cursor=None)

    def _put(self, call: Caller, known: Credential, changes: dict[str, object]) -> Credential:
        changed = known.model_copy(update={**changes, "updated_at": datetime.now(UTC)})
        self.credentials[call.caller.tenant_id][known.credential_id] = changed
        return changed
