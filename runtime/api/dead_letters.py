"""Dead letters: list, read, discard. Retrying one is an intent like any other, see submission.py."""

from contracts.api.runtime import RuntimeApi
from contracts.execution import ExecutionRef
from contracts.model import Page
from contracts.recovery import DeadLetter, DeadLetterDetail, DiscardDeadLetter, ListDeadLetters
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.store.dead_letters import DeadLetters

Caller = Call[InternalCaller]


class DeadLetterHandlers:
    """The tenant is the token's; Experience has checked that the caller may."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.list_dead_letters, self.list_dead_letters)
        server.on(RuntimeApi.get_dead_letter, self.get)
        server.on(RuntimeApi.discard_dead_letter, self.discard)

    async def list_dead_letters(self, call: Caller, wanted: ListDeadLetters) -> Page[DeadLetter]:
        """Newest first."""
        letters, cursor = await self._letters.list_page(call.caller.tenant_id, wanted)
        return Page(items=list(letters), next_cursor=cursor)

    async def get(self, call: Caller, wanted: ExecutionRef) -> DeadLetterDetail:
        """With its runs and suspects."""
        return await self._letters.get(call.caller.tenant_id, wanted.execution_id)

    async def discard(self, call: Caller, asked: DiscardDeadLetter) -> DeadLetter:
        """Off the list."""
        caller = call.caller
        return await self._letters.discard(caller.tenant_id, asked.execution_id, caller.user_id, asked.reason)
