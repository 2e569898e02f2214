"""Saved logins of one run: kept and handed out under names, noted with execution and node."""

from typing import Any

from contracts.browser_profile import BrowserProfile
from contracts.errors import ApiError
from contracts.execution import FailureCode
from contracts.model import ExecutionId, TenantId
from runtime.browser.storage import find_hosts
from runtime.node import NodeFailure
from runtime.profiles import Profiles, ProfileTrouble
from runtime.store.browser_profiles import ProfileUse


class Logins:
    """What the nodes of one execution may ask of the tenant's browser profiles."""

    def __init__(self, profiles: Profiles, tenant_id: TenantId, execution_id: ExecutionId) -> None:
        self._profiles = profiles
        self._tenant_id = tenant_id
        self._execution_id = execution_id

    async def save(self, node_id: str, name: str, state: dict[str, Any]) -> BrowserProfile:
        """Keep a context's state. Raises NodeFailure (credential_sealed, invalid_input)."""
        use = ProfileUse(self._execution_id, node_id)
        try:
            return await self._profiles.save(self._tenant_id, name, state, find_hosts(state), use)
        except ProfileTrouble as error:
            raise NodeFailure(FailureCode.CREDENTIAL_SEALED, error.message, error.hint) from error
        except ApiError as error:
            raise NodeFailure(FailureCode.INVALID_INPUT, error.detail, error.hint or "") from error

    async def load(self, node_id: str, name: str) -> dict[str, Any]:
        """What was kept. Raises NodeFailure (credential_missing, credential_sealed)."""
        try:
            state = await self._profiles.load(self._tenant_id, name, ProfileUse(self._execution_id, node_id))
        except ProfileTrouble as error:
            raise NodeFailure(FailureCode.CREDENTIAL_SEALED, error.message, error.hint) from error
        if state is None:
            raise NodeFailure(
                FailureCode.CREDENTIAL_MISSING,
                f"There is no browser profile “{name}”.",
                "Run a workflow that signs in and ends with “Save login” under that name, or name another one.",
            )
        return state
