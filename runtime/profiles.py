"""Browser profiles: what is in one is packed, sealed and opened here, and shown to nobody.

They lie in envelopes (runtime/seal.py), as credentials do: who has a session's cookies is signed in.
"""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from contracts.browser_profile import BrowserProfile
from contracts.model import TenantId
from runtime.seal import Envelope, Seal, SealBroken
from runtime.store.browser_profiles import BrowserProfileRecords, ProfileUse, SealedState
from runtime.store.tables import BrowserProfileRow

MAX_BYTES: Final = 8 * 1_048_576
"""Of what is in one profile, as JSON."""
MAX_HOSTS: Final = 100
"""That are named in what may be known of a profile."""


class ProfileTrouble(Exception):  # noqa: N818 — what is found
    """A profile can't be kept or opened. `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Profiles:
    """Browser profiles of all tenants, each under its own."""

    def __init__(self, records: BrowserProfileRecords, seal: Seal | None) -> None:
        self._records = records
        self._seal = seal

    async def save(
        self, tenant_id: TenantId, name: str, state: dict[str, Any], hosts: Sequence[str], use: ProfileUse
    ) -> BrowserProfile:
        """Keep a state under a name, in place of what was there. Raises ProfileTrouble, ApiError (LIMIT_REACHED)."""
        seal = self._need_seal("kept")
        sealed = await asyncio.to_thread(_fill, seal, tenant_id, name, state, hosts)
        return await self._records.save(tenant_id, name, sealed, use)

    async def load(self, tenant_id: TenantId, name: str, use: ProfileUse) -> dict[str, Any] | None:
        """What is in it, once it is on record who loads it; None where there is no such one. Raises ProfileTrouble."""
        seal = self._need_seal("opened")
        row = await self._records.load(tenant_id, name, use)
        return None if row is None else await asyncio.to_thread(_empty, seal, row)

    def _need_seal(self, what: str) -> Seal:
        if self._seal is None:
            raise ProfileTrouble(
                f"Browser profiles can't be {what}: this Runtime has no key to seal them with.",
                "The operator writes one with `openssl rand -base64 32` into a file, and names that in "
                "STAGEDOOR_RUNTIME_SEAL_KEY_FILE.",
            )
        return self._seal


def place_of(tenant_id: UUID, name: str, state_id: UUID) -> str:
    """What is authenticated with a state: it opens as this save of this profile of this tenant only."""
    return f"browser profile {tenant_id} {name} {state_id}"


def _fill(seal: Seal, tenant_id: TenantId, name: str, state: dict[str, Any], hosts: Sequence[str]) -> SealedState:
    content = to_json(state)
    if len(content) > MAX_BYTES:
        raise ProfileTrouble(
            f"What the sites keep has {len(content)} bytes; a browser profile holds {MAX_BYTES}.",
            "Save it right after signing in, before the site has stored more.",
        )
    state_id = uuid7()
    envelope = seal.fill(zlib.compress(content), place_of(tenant_id, name, state_id))
    return SealedState(state_id, envelope.data_key, envelope.content, sorted(set(hosts))[:MAX_HOSTS], len(content))


def _empty(seal: Seal, row: BrowserProfileRow) -> dict[str, Any]:
    envelope = Envelope(row.data_key, row.sealed)
    try:
        packed = seal.empty(envelope, place_of(row.tenant_id, row.name, row.state_id))
    except SealBroken as error:
        raise ProfileTrouble(
            f"The browser profile “{row.name}” can't be opened: {error}.",
            "Put the key it was sealed with back into the key file, or save it anew.",
        ) from error
    state: dict[str, Any] = from_json(zlib.decompress(packed))
    return state
