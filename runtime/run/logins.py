"""Saved logins of one run: kept and handed out under names, noted with execution and node, and masked from then on."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from contracts.browser_profile import BrowserProfile
from contracts.errors import ApiError
from contracts.execution import FailureCode
from contracts.model import ExecutionId, TenantId
from runtime.browser.storage import find_hosts
from runtime.engine.plan import PlannedNode
from runtime.masking import Redactor
from runtime.node import NodeFailure
from runtime.profiles import Profiles, ProfileTrouble
from runtime.run.recorder import Recorder
from runtime.store.browser_profiles import ProfileUse
from runtime.tokens import find_tokens

_PROFILE: Final = "Profile"
"""The input by which nodes name a saved login."""


class Logins:
    """What the nodes of one execution may ask of the tenant's browser profiles.

    Sites repeat what they have stored, and who has a session's cookie is signed in. So cookies of sessions and tokens
    in a state (runtime/tokens.py) are masked before anybody can see them, in all that the run leaves behind.
    """

    def __init__(
        self,
        profiles: Profiles,
        tenant_id: TenantId,
        execution_id: ExecutionId,
        redactor: Redactor,
        recorder: Recorder,
    ) -> None:
        self._profiles = profiles
        self._tenant_id = tenant_id
        self._execution_id = execution_id
        self._redactor = redactor
        self._recorder = recorder
        self._told = False

    async def save(self, node_id: str, name: str, state: dict[str, Any]) -> BrowserProfile:
        """Keep a context's state. Raises NodeFailure (credential_sealed, invalid_input)."""
        use = ProfileUse(self._execution_id, node_id)
        await self._mask(f"profile.{name}", state)  # first, so that no failure on the way can show it
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
        await self._mask(f"profile.{name}", state)
        return state

    async def mask_kept(self, states: Iterable[dict[str, Any]]) -> None:
        """Mask what earlier runs of this execution had in their browsers: pages are brought back with it."""
        for state in states:
            await self._mask("profile", state)

    async def _mask(self, alias: str, state: dict[str, Any]) -> None:
        masked = await asyncio.to_thread(_mask_tokens, self._redactor, alias, state)
        if not (masked or self._told):
            self._told = True
            said = (
                "Sites have stored more in this login than is masked: pages that show the rest of it show it in logs."
            )
            self._recorder.add_line("warning", said, None)


def _mask_tokens(redactor: Redactor, alias: str, state: dict[str, Any]) -> bool:
    """Mask what lets somebody in; whether that is all of it."""
    found = find_tokens(state)
    return redactor.add_tokens(alias, found.tokens) == 0 and found.whole


def names_logins(nodes: Iterable[PlannedNode]) -> bool:
    """Whether any of these nodes saves a login or loads one."""
    return any(node.literals.get(_PROFILE) for node in nodes)
